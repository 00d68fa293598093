/** A terminal on a server's console, until the operator detaches or the server ends. */
import { setTimeout as sleep } from "node:timers/promises";
import { RefusedError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import type { BrokerChoice } from "../options.ts";
import { print } from "../print/stdout.ts";
import { ConsoleConnection, type ConsoleServer, endError, findConsole } from "./connection.ts";
import { KEYS, Keys } from "./keys.ts";
import { OutputFilter, RESTORED } from "./output-filter.ts";

export interface AttachOptions extends BrokerChoice {
  /** Show only: what is typed here stays here. */
  readonly readOnly: boolean;
  /** Wait for the next server when this one has ended. */
  readonly follow: boolean;
  /** Let every byte pass. */
  readonly raw: boolean;
}

/** How often to look for the next server, in milliseconds. */
const LOOK_MS = 500;

/** Resolves when the operator has detached, the server has ended, or `signal` is aborted. */
export async function attach(berth: string, options: AttachOptions, signal: AbortSignal): Promise<void> {
  let server = await findConsole(berth, options);
  for (;;) {
    const end = await show(server, options, signal);
    if (end === "detached" || signal.aborted) return tell(`detached from ${berth}; its server goes on`);
    tell(`the server of ${berth} has ended`);
    if (!options.follow) return;
    tell("waiting for the next one; Ctrl-C ends this");
    const next = await nextServer(berth, server.lease, options, signal);
    if (next === undefined) return;
    server = next;
  }
}

async function show(server: ConsoleServer, options: AttachOptions, signal: AbortSignal): Promise<"detached" | "ended"> {
  const { berth, pid } = server;
  const isScreen = process.stdout.isTTY === true;
  const filter = options.raw ? undefined : new OutputFilter(isScreen ? "screen" : "plain");
  const hear = (bytes: Buffer): void => {
    if (filter === undefined) process.stdout.write(bytes);
    else print(filter.push(bytes));
  };
  tell(`console of ${berth}, pid ${pid}; ${options.readOnly ? "Ctrl-C ends this, not the server" : KEYS}`);
  using connection = await ConsoleConnection.connect(server, hear);
  const left = new AbortController();
  using _ = options.readOnly ? undefined : new Keyboard(connection, () => left.abort());
  const done = AbortSignal.any([left.signal, signal]);
  const end = await Promise.race([connection.ended, aborted(done)]);
  if (isScreen) print(RESTORED);
  if (end === undefined) return "detached";
  if (end !== "ended") throw endError(end, berth);
  return "ended";
}

/** The terminal's keys, typed on the console, and its size. The terminal is as it was afterwards. */
class Keyboard implements Disposable {
  readonly #onKeys: (bytes: Buffer) => void;
  readonly #onResize: () => void;

  constructor(connection: ConsoleConnection, detach: () => void) {
    const keys = new Keys();
    this.#onKeys = (bytes) => {
      for (const action of keys.push(bytes)) {
        if (action.kind === "type") connection.type(action.bytes);
        else if (action.kind === "detach") detach();
        else tell(action.message);
      }
    };
    this.#onResize = () => {
      const { rows, columns } = process.stdout;
      if (rows > 0 && columns > 0) connection.resize(rows, columns);
    };
    process.stdin.setRawMode(true);
    process.stdin.on("data", this.#onKeys);
    process.stdin.on("end", detach); // the terminal is gone
    process.stdout.on("resize", this.#onResize);
    this.#onResize();
  }

  [Symbol.dispose](): void {
    process.stdin.off("data", this.#onKeys);
    process.stdout.off("resize", this.#onResize);
    process.stdin.setRawMode(false);
    process.stdin.pause();
  }
}

/** A server of another lease, once it has a console. Undefined when interrupted. */
async function nextServer(
  berth: string,
  former: string,
  options: AttachOptions,
  signal: AbortSignal,
): Promise<ConsoleServer | undefined> {
  while (!signal.aborted) {
    try {
      const server = await findConsole(berth, options);
      if (server.lease !== former) return server;
    } catch (error) {
      if (!(error instanceof RefusedError) || error.error !== "io.berthd.Broker.BerthVacant") throw error;
    }
    await sleep(LOOK_MS, undefined, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
  return undefined;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/** A line on standard error; the terminal may be raw. */
function tell(message: string): void {
  process.stderr.write(`\r\nberth: ${printable(message)}\r\n`);
}
