// node train.mjs data.csv: fits a ridge regression of the logarithm of the cases and saves it as model.json.
import { readFileSync, writeFileSync } from "node:fs";
import { readTable } from "./lib/csv.mjs";
import { progress, metric } from "./lib/modelwire.mjs";
import { inputs, ridgeRegression, dot } from "./lib/regression.mjs";

const config = readFileSync("config.yml", "utf8");
const ridge = Number(config.match(/^ridge: (.*)$/m)[1]);

const rows = readTable(process.argv[2]).filter((row) => row.disease_cases !== "");
const locations = [...new Set(rows.map((row) => row.location))].sort();
progress(0.2, `read ${rows.length} rows`);

const x = rows.map((row) => inputs(row, locations));
const y = rows.map((row) => Math.log1p(Number(row.disease_cases)));
const coefficients = ridgeRegression(x, y, ridge);
progress(0.8, "fitted");

const errors = rows.map((row, i) => Math.expm1(dot(x[i], coefficients)) - Number(row.disease_cases));
metric("rmse", Math.sqrt(dot(errors, errors) / errors.length));
writeFileSync("model.json", JSON.stringify({ locations, coefficients }));
console.log(`fitted ${rows.length} rows of ${locations.length} locations`);
progress(1, "saved");
