/** Runs a server, watches what it binds, and makes the text of a berth from it. It writes no file. */
import { systemAccounts } from "../../accounts.ts";
import { BerthError } from "../../errors.ts";
import { native } from "../../native.ts";
import { printable } from "../../printable.ts";
import { programPath } from "./program-path.ts";
import type { SeenBind } from "./recorder.ts";
import { folderFor, serverUser, userOf } from "./server-place.ts";
import { explainOthers, suggestBerth } from "./suggestion.ts";
import { traceBinds } from "./trace.ts";

export interface ExplainChoice {
  /** As root: the user whom the server runs as. */
  readonly user?: string | undefined;
  /** The seconds after which the server is ended, as they were written. */
  readonly seconds?: string | undefined;
  /** The folder that it starts in, and that the berth has. Default: the current one. */
  readonly directory?: string | undefined;
}

export interface Explained {
  readonly binds: readonly SeenBind[];
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The text of NAME.toml; undefined if no socket can be held. */
  readonly toml: string | undefined;
}

const MAX_SECONDS = 86_400;

/** Undefined if the server could not be started: what was wrong has been printed. Throws USAGE. */
export async function explainServer(
  name: string,
  command: readonly string[],
  { user, seconds, directory }: ExplainChoice,
): Promise<Explained | undefined> {
  const [program = "", ...args] = command;
  const duration = seconds === undefined ? undefined : milliseconds(seconds);
  const place = placeOf(user, directory ?? process.cwd());
  const stop = stopSignal();
  const trace = await traceBinds(command, { ...place, user: place.as, stop, duration, say, sys: native });
  if (!trace.started) return undefined;
  const { binds, code, signal } = trace;
  const path = programPath(program, place.directory, process.env["PATH"] ?? "");
  const berth = { name, command: [path, ...args], directory: place.directory, user: place.user, binds };
  return { binds, code, signal, toml: suggestBerth(berth) };
}

/** For a server without a socket that can be held. */
export function sayWhyNothing(binds: readonly SeenBind[], command: readonly string[]): void {
  for (const line of explainOthers(binds, command)) say(line);
  say("the server bound nothing that a berth could hold; read its output above, or give it more time");
}

/** As whom and where the server runs, and as whom it is to run in the berth. */
function placeOf(name: string | undefined, here: string) {
  const uid = process.geteuid?.() ?? -1;
  const accounts = systemAccounts(native);
  const as = name === undefined ? undefined : userOf(name, uid, accounts);
  const directory = folderFor(as, here);
  if (directory !== here) say(`${as?.name} may not enter ${printable(here)}, so the server starts in /`);
  return { as, directory, user: serverUser(as, uid, process.env["SUDO_USER"], accounts) };
}

function milliseconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && seconds > 0 && seconds <= MAX_SECONDS) return seconds * 1000;
  const rule = `is not a number of seconds above 0 and at most ${MAX_SECONDS}; write for example --for 10`;
  throw new BerthError("USAGE", `--for ${printable(text)} ${rule}`);
}

/** Fires at SIGINT and similar signals: the server is ended first, and the result is still printed. */
function stopSignal(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stopping.abort());
  return stopping.signal;
}

function say(sentence: string): void {
  process.stderr.write(`berth: ${sentence}\n`);
}
