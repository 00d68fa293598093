/** Reads one section of a file by the keys it may have. A test holds the documentation against the same key tables. */

import type { Accounts } from "../../accounts.ts";
import type { Report } from "./problem.ts";
import { type Reader, type Reading, refuse } from "./reader.ts";
import { suggest } from "./suggest.ts";
import type { Table, Value } from "./tree.ts";

/** A key of a section. */
export interface Key<T> {
  readonly name: string;
  /** What may be written, in words for the documentation. */
  readonly type: string;
  readonly read: Reader<T>;
  /** What the value counts. */
  readonly unit?: string;
  /** The default as TOML or in words; absent: there is none. */
  readonly default?: string;
  /** The sockets the key applies to; absent: all. */
  readonly appliesTo?: string;
}

/** A key that has a value when it is not written. */
export interface DefaultedKey<T> extends Key<T> {
  readonly default: string;
  readonly fallback: T;
}

/** Values of one section by key. */
export interface Section {
  readonly table: Table;
  /** The value, or undefined if it is absent or was reported. */
  optional<T>(key: Key<T>): T | undefined;
  /** The value, or its default if it is absent or was reported. */
  value<T>(key: DefaultedKey<T>): T;
}

/** What reading a section needs from outside. */
export interface Context {
  readonly report: Report;
  readonly accounts: Accounts;
}

/** Starts reading a section and reports its unknown keys. An absent section has only defaults. */
export function openSection(
  label: string,
  value: Value,
  keys: Readonly<Record<string, Key<unknown>>>,
  context: Context,
): Section {
  const table = asTable(label, value, context);
  if (table.entries.size > 0) reportUnknown(label, table, keys, context);
  const optional = <T>(key: Key<T>): T | undefined => {
    const entry = table.entries.get(key.name);
    // Most keys of most berths are absent: nothing is made for them.
    if (entry === undefined) return undefined;
    const reading: Reading = { ...context, label: `${label}.${key.name}` };
    return key.read(entry, reading);
  };
  return { table, optional, value: (key) => optional(key) ?? key.fallback };
}

function reportUnknown(
  label: string,
  { entries }: Table,
  keys: Readonly<Record<string, Key<unknown>>>,
  { report }: Context,
): void {
  const known = namesOf(keys);
  for (const [name, { origin }] of entries)
    if (!known.has(name)) report(origin, `[${label}] has no key "${name}"`, suggest(name, [...known]));
}

/** By the table of keys: ten thousand berths have the same few. */
const names = new WeakMap<object, ReadonlySet<string>>();

function namesOf(keys: Readonly<Record<string, Key<unknown>>>): ReadonlySet<string> {
  const known = names.get(keys) ?? new Set(Object.values(keys).map((key) => key.name));
  names.set(keys, known);
  return known;
}

/** The table itself. Anything else is reported, and read as an empty table. */
export function asTable(label: string, value: Value, context: Context): Table {
  if (value.kind === "table") return value;
  refuse(value, { ...context, label }, "a table", `write a section [${label}]`);
  return emptyTable(value);
}

/** An empty table at the place of `at`. */
export function emptyTable(at: Pick<Table, "origin">): Table {
  return { kind: "table", entries: new Map(), origin: at.origin };
}

/** Without the undefined values, so that two specs of the same text are deeply equal. */
export function present<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> };
export function present(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
