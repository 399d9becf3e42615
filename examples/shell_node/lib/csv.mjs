// Tables as CSV files: an array of objects whose values are texts.
import { readFileSync, writeFileSync } from "node:fs";

export function readTable(path) {
  const [header, ...lines] = parse(readFileSync(path, "utf8"));
  return lines.map((cells) => Object.fromEntries(header.map((name, i) => [name, cells[i]])));
}

export function writeTable(path, rows) {
  const names = Object.keys(rows[0] ?? {});
  const lines = [names, ...rows.map((row) => names.map((name) => row[name]))];
  writeFileSync(path, lines.map((cells) => cells.map(quoted).join(",") + "\n").join(""));
}

// A cell is quoted, with quotes inside of it doubled, or bare; it ends at a comma or at the end of its line.
function parse(text) {
  const lines = [[]];
  for (const [, inQuotes, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/gy)) {
    lines.at(-1).push(inQuotes === undefined ? bare : inQuotes.replaceAll('""', '"'));
    if (end !== ",") lines.push([]);
  }
  return lines.filter((cells) => cells.length > 1 || cells[0]);
}

function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
