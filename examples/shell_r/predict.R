# Rscript predict.R future.csv predictions.csv: adds the column sample_0, the cases to be expected.
files <- commandArgs(trailingOnly = TRUE)
model <- readRDS("model.rds")
future <- read.csv(files[1], check.names = FALSE)
inputs <- transform(future, season = 2 * pi * as.integer(substr(time_period, 6, 7)) / 12)
future$sample_0 <- expm1(predict(model, inputs))
write.csv(future, files[2], row.names = FALSE, na = "")
