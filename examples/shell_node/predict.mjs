// node predict.mjs future.csv predictions.csv: adds the column sample_0, the cases to be expected.
import { readFileSync } from "node:fs";
import { readTable, writeTable } from "./lib/csv.mjs";
import { inputs, dot } from "./lib/regression.mjs";

const [future, output] = process.argv.slice(2);
const { locations, coefficients } = JSON.parse(readFileSync("model.json", "utf8"));
const expected = (row) => Math.max(0, Math.expm1(dot(inputs(row, locations), coefficients)));
writeTable(output, readTable(future).map((row) => ({ ...row, sample_0: expected(row) })));
