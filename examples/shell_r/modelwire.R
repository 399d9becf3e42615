# Tells modelwire how a script gets on. Needs nothing but R; put it beside your scripts.
#
#   source("modelwire.R")
#   modelwire_progress(0.5, "half way")
#   modelwire_metric("rmse", 12.3, step = 4)
#   modelwire_log("few rows", level = "WARNING")
#
# Where no modelwire listens the functions do nothing: a script works by hand as well.

# fraction: how far the work is, 0 to 1.
modelwire_progress <- function(fraction, message = "") {
  modelwire_report(progress = fraction, message = message)
}

modelwire_metric <- function(name, value, step = NULL) {
  modelwire_report(metric = name, value = value, step = step)
}

# level: DEBUG, INFO, WARNING or ERROR.
modelwire_log <- function(text, level = "INFO") {
  modelwire_report(log = text, level = level)
}

# Appends one JSON object as a line to the file that modelwire reads while the script runs.
modelwire_report <- function(...) {
  path <- Sys.getenv("MODELWIRE_PROGRESS_FILE")
  if (path == "") return(invisible())
  fields <- Filter(Negate(is.null), list(...))
  members <- sprintf("\"%s\":%s", names(fields), vapply(fields, modelwire_json, ""))
  connection <- file(path, open = "ab")
  on.exit(close(connection))
  # Bytes, so that the locale changes nothing.
  writeLines(paste0("{", paste(members, collapse = ","), "}"), connection, useBytes = TRUE)
}

# One number or text as JSON.
modelwire_json <- function(value) {
  if (is.numeric(value)) {
    if (!is.finite(value)) return("null")
    return(sprintf(if (value == round(value) && abs(value) < 1e15) "%.0f" else "%.15g", value))
  }
  text <- gsub("([\"\\\\])", "\\\\\\1", enc2utf8(paste(value, collapse = " ")))
  paste0("\"", gsub("[[:cntrl:]]+", " ", text), "\"")
}
