// Tells modelwire how a script gets on. Where none listens it does nothing: a script works by hand as well.
import { appendFileSync } from "node:fs";

const path = process.env.MODELWIRE_PROGRESS_FILE;

function report(fields) {
  if (path) appendFileSync(path, JSON.stringify(fields) + "\n");
}

// How far the work is, 0 to 1, and a message.
export const progress = (fraction, message = "") => report({ progress: fraction, message });

// A name, a value and perhaps a step.
export const metric = (name, value, step) => report({ metric: name, value, step });

// A text and perhaps a level: DEBUG, INFO, WARNING or ERROR.
export const log = (text, level = "INFO") => report({ log: text, level });
