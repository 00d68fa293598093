/** Reads the name of a signal: SIGTERM, or TERM. */
import { constants } from "node:os";
import { type Reader, refuse } from "../toml/reader.ts";
import { stringOf } from "../toml/tree.ts";

const numbers: ReadonlyMap<string, number> = new Map(Object.entries(constants.signals));

/** SIGKILL is no request, and SIGSTOP would keep a server for ever. */
const UNFIT: ReadonlySet<string> = new Set(["SIGKILL", "SIGSTOP"]);

export const signalName: Reader<number> = (value, reading) => {
  const written = stringOf(value);
  const name = written.startsWith("SIG") ? written : `SIG${written}`;
  const number = numbers.get(name);
  if (number !== undefined && !UNFIT.has(name)) return number;
  return refuse(value, reading, "the name of a signal that a server can handle", 'write for example "SIGINT"');
};
