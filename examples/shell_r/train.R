# Rscript train.R data.csv: fits a regression of the logarithm of the cases and saves it as model.rds.
source("modelwire.R")

config <- yaml::read_yaml("config.yml")
data <- read.csv(commandArgs(trailingOnly = TRUE)[1])
data <- data[!is.na(data$disease_cases), ]
data$season <- 2 * pi * as.integer(substr(data$time_period, 6, 7)) / 12
year <- substr(data$time_period, 1, 4)

terms <- c("sin(season)", "cos(season)", unlist(config$features), if (length(unique(data$location)) > 1) "location")
formula <- reformulate(terms, response = "log1p(disease_cases)")

# How well does it do in a year that it has not seen?
years <- unique(year)
for (i in seq_along(years[-1])) {
  unseen <- year == years[i + 1]
  fitted <- lm(formula, data[year <= years[i], ])
  expected <- expm1(predict(fitted, data[unseen, ]))
  modelwire_metric("rmse", sqrt(mean((expected - data$disease_cases[unseen])^2)), step = i)
  modelwire_progress(i / length(years), paste("checked with", years[i + 1]))
}

model <- lm(formula, data)
saveRDS(model, "model.rds")
cat("fitted", nrow(data), "rows, R squared", round(summary(model)$r.squared, 3), "\n")
modelwire_progress(1, "saved")
