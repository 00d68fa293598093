/**
 * A reader turns a value of the tree into what the program uses. If it cannot, it reports why and returns undefined.
 * It reports everything that is wrong with a value, not only the first thing. Pure, apart from the given accounts.
 */
import type { Accounts } from "../../accounts.ts";
import type { Origin, Report } from "./problem.ts";
import { suggest } from "./suggest.ts";
import { scalarOf, stringOf, type Value } from "./tree.ts";

/** What a reader may use besides the value. */
export interface Reading {
  /** The key's full name for messages: `sockets.game.backlog`. */
  readonly label: string;
  readonly report: Report;
  readonly accounts: Accounts;
}

export type Reader<T> = (value: Value, reading: Reading) => T | undefined;

/** A value and where it was written. */
export interface Placed<T> {
  readonly value: T;
  readonly origin: Origin;
}

/** A value as messages show it. */
function show(value: Value): string {
  if (value.kind === "list") return "an array";
  if (value.kind === "table") return "a table";
  return value.value instanceof Date ? "a date" : JSON.stringify(value.value);
}

/** Reports that the value is not what `expected` describes. */
export function refuse(value: Value, { label, report }: Reading, expected: string, remedy: string): undefined {
  report(value.origin, `${label} is ${show(value)}, which is not ${expected}`, remedy);
}

export const text: Reader<string> = (value, reading) => {
  const written = scalarOf(value);
  if (typeof written !== "string") {
    const remedy = typeof written === "number" ? `write it in quotes: "${written}"` : 'write "…" in quotes';
    return refuse(value, reading, "a string", remedy);
  }
  // The kernel takes every string as a C string: an argument, a path, a variable.
  if (written.includes("\0")) return refuse(value, reading, "free of NUL bytes", "remove \\u0000");
  return written;
};

/** A string that `pattern` accepts. */
export function matching(pattern: RegExp, expected: string, remedy: string): Reader<string> {
  return (value, reading) => {
    const word = text(value, reading);
    if (word === undefined || pattern.test(word)) return word;
    return refuse(value, reading, expected, remedy);
  };
}

export const flag: Reader<boolean> = (value, reading) => {
  const written = scalarOf(value);
  if (typeof written === "boolean") return written;
  return refuse(value, reading, "true or false", "write true or false, without quotes");
};

/** Whether a value is a whole number. */
export function isInteger(value: unknown): value is number {
  return Number.isInteger(value);
}

/** A whole number from `min` to `max`. */
export function integer(min: number, max: number): Reader<number> {
  return (value, reading) => {
    const number = scalarOf(value);
    if (isInteger(number) && number >= min && number <= max) return number;
    return refuse(
      value,
      reading,
      `a whole number from ${min} to ${max}`,
      `write a number from ${min} to ${max}, without quotes`,
    );
  };
}

const sizeUnits: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["K", 1024],
  ["M", 1024 ** 2],
  ["G", 1024 ** 3],
]);

/** The bytes of "4M" or "512K"; undefined if the text is not a size, or too large to be exact. */
export function parseSize(written: string): number | undefined {
  const match = /^(\d{1,16})([KMG]?)$/.exec(written);
  const bytes = match === null ? Number.NaN : Number(match[1]) * (sizeUnits.get(match[2] ?? "") ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** A size in bytes: a number, or a string with K, M or G (of 1024). */
export function size(max: number): Reader<number> {
  return (value, reading) => {
    const written = scalarOf(value);
    const bytes = typeof written === "string" ? parseSize(written) : written;
    if (isInteger(bytes) && bytes >= 1 && bytes <= max) return bytes;
    return refuse(
      value,
      reading,
      `a size from 1 to ${max} bytes`,
      'write bytes, or a number with K, M or G: "512K", "4M"',
    );
  };
}

const durationUnits: ReadonlyMap<string, number> = new Map([
  ["s", 1],
  ["min", 60],
  ["h", 3600],
]);

/** The seconds of "10s", "15min" or "1h"; 0 for any other text. */
export function secondsOfDuration(text: string): number {
  const match = /^(\d{1,9})(s|min|h)$/.exec(text);
  return match === null ? 0 : Number(match[1]) * (durationUnits.get(match[2] ?? "") ?? 0);
}

/** A time in seconds, written as "10s", "15min" or "1h". */
export function duration(max: number): Reader<number> {
  return (value, reading) => {
    const seconds = secondsOfDuration(stringOf(value));
    if (seconds >= 1 && seconds <= max) return seconds;
    return refuse(value, reading, `a time from 1 to ${max} seconds`, 'write a string with s, min or h: "10s", "15min"');
  };
}

/** Permission bits as octal digits in a string, because TOML would read 660 as a decimal number. */
export const octal: Reader<number> = (value, reading) => {
  const written = stringOf(value);
  if (/^0?[0-7]{3}$/.test(written)) return Number.parseInt(written, 8);
  return refuse(value, reading, "an octal number up to 0777 in quotes", 'write it as chmod does, in quotes: "0660"');
};

/** One of a few words. */
export function word<T extends string>(...words: readonly T[]): Reader<T> {
  return (value, reading) => {
    const written = text(value, reading);
    if (written === undefined) return undefined;
    const known = words.find((candidate) => candidate === written);
    return known ?? refuse(value, reading, `one of ${words.join(", ")}`, suggest(written, words));
  };
}

/** The value with its origin. */
export function placed<T>(reader: Reader<T>): Reader<Placed<T>> {
  return (value, reading) => {
    const read = reader(value, reading);
    return read === undefined ? undefined : { value: read, origin: value.origin };
  };
}

/** `KEY = [VALUE]`. A string with blanks is most likely a command line, so each of its words becomes an element. */
function asArray(value: Value, label: string): string {
  const key = label.slice(label.lastIndexOf(".") + 1);
  if (value.kind !== "scalar") return `${key} = […]`;
  const words = typeof value.value === "string" ? value.value.split(/\s/).filter((word) => word !== "") : [value.value];
  return `${key} = [${words.map((word) => JSON.stringify(word)).join(", ")}]`;
}

function isWhole<T>(items: readonly (T | undefined)[]): items is readonly T[] {
  return !items.includes(undefined);
}

/** An array. Elements that cannot be read are reported and left out. */
export function listOf<T>(reader: Reader<T>): Reader<readonly T[]> {
  return (value, reading) => {
    if (value.kind !== "list") return refuse(value, reading, "an array", `write ${asArray(value, reading.label)}`);
    const items = value.items.map((item) => reader(item, reading));
    // The list itself has its exact length; what filter() makes has room for 16 more, in each of ten thousand berths.
    return isWhole(items) ? items : items.filter((item) => item !== undefined);
  };
}

/** A table whose entries are all read the same way. Entries that cannot be read are reported and left out. */
export function tableOf<T>(
  reader: (name: string, value: Value, reading: Reading) => T | undefined,
): Reader<ReadonlyMap<string, T>> {
  return (value, reading) => {
    if (value.kind !== "table")
      return refuse(value, reading, "a table", "write { NAME = VALUE } or a section of its own");
    const read = new Map<string, T>();
    for (const [name, entry] of value.entries) {
      const item = reader(name, entry, { ...reading, label: `${reading.label}.${name}` });
      if (item !== undefined) read.set(name, item);
    }
    return read;
  };
}
