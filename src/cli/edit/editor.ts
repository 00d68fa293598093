/** The user's editor, as git(1) and crontab(1) find it: $VISUAL, $EDITOR, or one that is installed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { BerthError } from "../../errors.ts";
import { isExecutable } from "../../launcher-path.ts";
import { printable } from "../../printable.ts";
import { programPath } from "../explain/program-path.ts";

const USUAL = ["editor", "sensible-editor", "nano", "vim", "vi"];

/** Code for sh(1), to which the file's path is added. Throws SYSTEM_ERROR if there is no editor. */
export function editorCommand(env: NodeJS.ProcessEnv = process.env): string {
  const named = [env["VISUAL"], env["EDITOR"]].find((text) => text?.trim());
  if (named !== undefined) return named;
  const found = USUAL.find((name) => isExecutable(programPath(name, process.cwd(), env["PATH"] ?? "")));
  if (found !== undefined) return found;
  throw new BerthError("SYSTEM_ERROR", "there is no editor in PATH; name one: EDITOR=/path/of/editor berth edit NAME");
}

/**
 * Runs the editor on a file, and waits until it has ended. Throws SYSTEM_ERROR if it fails. Ctrl-C is the editor's.
 * Another signal ends both.
 */
export async function runEditor(command: string, path: string): Promise<void> {
  // An editor draws on standard output, which may be a program's.
  const output = process.stdout.isTTY === true ? "inherit" : 2;
  // In place of the shell, so that signals reach it; but `NAME=VALUE editor` is no program.
  const exec = /^[^\s=]+(?:\s|$)/.test(command.trim()) ? "exec " : "";
  const code = `${exec}${command} "$@"`;
  const child = spawn("/bin/sh", ["-c", code, "berth", path], { stdio: ["inherit", output, "inherit"] });
  let caught: NodeJS.Signals | undefined;
  const ignore = (): void => undefined;
  const stop = (signal: NodeJS.Signals): void => {
    caught ??= signal;
    child.kill(signal);
  };
  process.on("SIGINT", ignore);
  for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, stop);
  try {
    const [status, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    if (caught !== undefined) throw new BerthError("ABORTED", `interrupted by ${caught}`);
    if (status === 0) return;
    const how = signal === null ? describeStatus(status ?? 0) : `was ended by ${signal}`;
    throw new BerthError("SYSTEM_ERROR", `the editor ${printable(command)} ${how}`);
  } finally {
    process.off("SIGINT", ignore);
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.off(signal, stop);
  }
}

/** sh(1) says 127 where there is no such program, and 128 + N where signal N ended it. */
function describeStatus(status: number): string {
  const signal = Object.entries(constants.signals).find(([, number]) => status === 128 + number)?.[0];
  if (signal !== undefined) return `was ended by ${signal}`;
  return status === 127 ? "could not be run; name another: EDITOR=/path/of/editor" : `ended with status ${status}`;
}
