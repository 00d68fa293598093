/** What every command of `berth-fleet` has in common: where etcd is, and how to print. */
import { readFileSync } from "node:fs";
import { type ParseArgsConfig, parseArgs } from "node:util";
import type { TlsFiles } from "../etcd/channel.ts";
import { EtcdClient } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { integer } from "../model/fields.ts";
import { LONGEST_DRAIN_SECONDS } from "../model/hold.ts";
import { Keys } from "../model/keys.ts";
import { printable } from "./printable.ts";

/** What a command prints, and whether something was refused. */
export interface Printed {
  readonly text: string;
  readonly refused: boolean;
}

/** Options of all commands, for parseArgs. */
export const commonFlags = {
  etcd: { type: "string", multiple: true },
  prefix: { type: "string" },
  ca: { type: "string" },
  cert: { type: "string" },
  key: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;

export interface CommonValues {
  readonly etcd?: string[] | undefined;
  readonly prefix?: string | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

type Flags = NonNullable<ParseArgsConfig["options"]>;
type Parsed<T extends Flags> = ReturnType<
  typeof parseArgs<{ args: string[]; options: T; strict: true; allowPositionals: boolean }>
>;

/** Throws USAGE. */
export function parse<T extends Flags>(args: readonly string[], options: T, allowPositionals: boolean): Parsed<T> {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals });
  } catch (error) {
    throw new Fault("USAGE", `${error instanceof Error ? error.message : error}; see berth-fleet --help`);
  }
}

/**
 * The client and the keys that the options name. No endpoint is a default: etcd's port is above 1023, so any local user
 * can listen on it while etcd does not run. Throws USAGE, FILE_UNREADABLE.
 */
export function openFleet(values: CommonValues): { readonly etcd: EtcdClient; readonly keys: Keys } {
  return { etcd: new EtcdClient(endpointsOf(values), tlsOf(values)), keys: new Keys(values.prefix) };
}

/** The members of etcd. Throws USAGE if there are none. */
export function endpointsOf({ etcd }: CommonValues): readonly string[] {
  const endpoints = etcd ?? process.env["BERTH_FLEET_ETCD"]?.split(",").filter((one) => one !== "") ?? [];
  if (endpoints.length > 0) return endpoints;
  throw new Fault("USAGE", "--etcd is missing: the address of a member of etcd, as https://192.0.2.1:2379");
}

/** Throws USAGE, FILE_UNREADABLE. */
export function tlsOf({ ca, cert, key }: CommonValues): TlsFiles | undefined {
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if (ca === undefined || (cert === undefined) !== (key === undefined))
    throw new Fault("USAGE", "--cert and --key go together, and need --ca");
  if (cert === undefined || key === undefined) return { ca: readText(ca) };
  return { ca: readText(ca), cert: readText(cert), key: readText(key) };
}

/** Throws FILE_UNREADABLE. */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new Fault("FILE_UNREADABLE", `cannot read ${path}: ${why}`, { cause: error });
  }
}

/** Rows under a head, in columns. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map(printable));
  const widths = head.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

/** `game=192.0.2.1:27000`, for each socket. */
export function portsText(ports: Readonly<Record<string, number>>, address: string): string {
  const host = address.includes(":") ? `[${address}]` : address;
  return Object.entries(ports)
    .map(([socket, port]) => `${socket}=${host}:${port}`)
    .join(" ");
}

/** `512M`, `8G`, or bytes. Throws USAGE. */
export function parseBytes(text: string, option: string): number {
  const [, digits, unit = ""] = /^(\d{1,12})([KMGT]?)$/.exec(text) ?? [];
  const bytes = Number(digits) * 1024 ** " KMGT".indexOf(unit || " ");
  if (digits === undefined || !Number.isSafeInteger(bytes))
    throw new Fault("USAGE", `${option} ${text} is no size: write bytes, or as 512M or 8G`);
  return bytes;
}

/** `90s`, `30min` or `2h` in seconds; 0: at once. Throws USAGE. */
export function parseDeadline(text: string, option: string): number {
  const [, digits, unit = ""] = /^(\d{1,6})(s|min|m|h)$|^0$/.exec(text) ?? [];
  const seconds = text === "0" ? 0 : Number(digits) * (SECONDS[unit] ?? 1);
  if (seconds >= 0 && seconds <= LONGEST_DRAIN_SECONDS) return seconds;
  throw new Fault("USAGE", `${option} ${text} is no time of at most 168h: write 90s, 30min, 2h, or 0 for at once`);
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, min: 60, h: 3600 };

export interface Stop extends Disposable {
  readonly signal: AbortSignal;
  readonly abort: () => void;
}

/** Aborted by Ctrl-C and SIGTERM, once: the second one ends the program. */
export function untilSignal(): Stop {
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, abort);
  return {
    signal: stop.signal,
    abort,
    [Symbol.dispose]: () => {
      for (const name of ["SIGTERM", "SIGINT"] as const) process.off(name, abort);
    },
  };
}

/** A line of a stream. Nobody reads it any more, as after `head`: then it ends. */
export function printLine(line: string, stop: Stop): void {
  if (process.stdout.listenerCount("error") === 0) process.stdout.on("error", () => stop.abort());
  process.stdout.write(`${printable(line)}\n`);
}

/** A number of seconds, at most an hour. Throws INVALID_RECORD. */
export function parseSeconds(text: string, option: string, least: number): number {
  return integer(least, 3600)(/^\d+$/.test(text) ? Number(text) : text, option);
}

/** Writes a line to the log of a command that runs until it is ended. */
export function sayer({ json }: { readonly json?: boolean | undefined }): (sentence: string) => void {
  return (sentence) => {
    if (json) console.error(JSON.stringify({ time: new Date().toISOString(), message: sentence }));
    else console.error("berth-fleet: %s", printable(sentence));
  };
}

/** `NAME=VALUE`. Throws USAGE. */
export function parseLabel(text: string): [string, string] {
  const [name = "", value] = text.split(/=(.*)/s);
  if (value === undefined) throw new Fault("USAGE", `--label ${text} has no value: write NAME=VALUE`);
  return [name, value];
}
