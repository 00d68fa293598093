/** Node processes of their own for what must not happen in the test's: limits, exec, garbage collection, crashes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { packageRoot } from "../../src/native.ts";

/** The start of a script that uses the addon: CommonJS, with `sys` being the addon. */
const prelude = `const sys = require(${JSON.stringify(join(packageRoot, "node_modules/node-gyp-build"))})(${JSON.stringify(packageRoot)});`;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  /** Before the command, as `limitedTo(32)`. */
  readonly wrap?: readonly string[];
  readonly nodeFlags?: readonly string[];
  readonly stdin?: "ignore" | number;
  /** Descriptors to pass, from 3 upward. */
  readonly fds?: readonly number[];
}

/** Runs a script that has the addon as `sys`, to its end. */
export async function runWithAddon(script: string, options: ChildOptions = {}): Promise<Ended> {
  const [command = "", ...args] = [
    ...(options.wrap ?? []),
    process.execPath,
    ...(options.nodeFlags ?? []),
    "-e",
    `${prelude}\n${script}`,
  ];
  const child = spawn(command, args, {
    stdio: [options.stdin ?? "ignore", "pipe", "pipe", ...(options.fds ?? [])],
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("no pipes");
  const [out, err] = await Promise.all([text(stdout), text(stderr), once(child, "close")]);
  return { code: child.exitCode, signal: child.signalCode, stdout: out, stderr: err };
}
