/**
 * What stands around every benchmark: its command line, a folder and processes of its own that are gone when it ends,
 * however it ends, and its failure in a sentence. It measures nothing, and knows of no benchmark.
 */
import { setMaxListeners } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { describeMachine } from "./machine.mjs";
import { Processes } from "./processes.mjs";

export const root = join(import.meta.dirname, "..");

/** Progress, and what is wrong: standard output is for the figures. */
export const say = (text) => process.stderr.write(`${text}\n`);

/** The number that an option is given as. Throws when it is none, or larger than `most`. */
export function whole(name, text, most) {
  const number = /^[1-9]\d*$/.test(text) ? Number(text) : 0;
  if (number === 0 || number > most)
    throw new Error(`--${name} is "${text}"; it takes a whole number from 1 to ${most}`);
  return number;
}

/**
 * Throws if `save` is given together with `option`, whose value `given` is: docs/benchmarks.md shows what is saved, and
 * this option leaves rows of it out.
 */
export function refusePart(save, option, given) {
  if (save && given) throw new Error(`--save keeps all rows of a benchmark: leave out --${option}`);
}

/**
 * Runs `main` with what `read` makes of the command line, which has the options given (parseArgs(), `--help` always).
 * Exit code 100 if `read` throws, 1 if `main` does.
 */
export async function runBench({ name, usage, options, read, main }) {
  let chosen;
  try {
    const { values } = parseArgs({ options: { ...options, help: { type: "boolean", default: false } } });
    if (values.help) return console.log(usage);
    chosen = read(values);
  } catch (error) {
    say(`${error.message}\n\n${usage}`);
    process.exitCode = 100;
    return;
  }
  try {
    await main(chosen);
  } catch (error) {
    say(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}

/** Calls `measure` with the machine, an empty folder and what runs processes. A signal ends what it waits for there. */
export async function inSession(measure) {
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal); // one for each process that runs
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
  }
  const machine = describeMachine();
  const folder = mkdtempSync(join(tmpdir(), "berthd-bench-"));
  const processes = new Processes(machine.core, stopping.signal);
  try {
    await measure({ machine, folder, processes });
  } finally {
    await processes.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
