/** A TOML text as a tree whose values know their file and line; merging and expanding such trees. Pure. */
import { parse, TomlError, type TomlValue } from "smol-toml";
import { locate, type Place } from "./locate.ts";
import { expandSpecifiers } from "./name.ts";
import type { Origin, Report } from "./problem.ts";

export type Value = Scalar | List | Table;

export interface Scalar {
  readonly kind: "scalar";
  readonly value: string | number | boolean | Date;
  readonly origin: Origin;
}

export interface List {
  readonly kind: "list";
  readonly items: readonly Value[];
  readonly origin: Origin;
}

export interface Table {
  readonly kind: "table";
  /** In the order written. */
  readonly entries: ReadonlyMap<string, Value>;
  readonly origin: Origin;
}

/** What a scalar holds; undefined for a list or a table. */
export function scalarOf(value: Value): Scalar["value"] | undefined {
  return value.kind === "scalar" ? value.value : undefined;
}

/** The text of a string; "" for everything else. */
export function stringOf(value: Value): string {
  const scalar = scalarOf(value);
  return typeof scalar === "string" ? scalar : "";
}

/** Parses a text. If it is not TOML, the first error is reported, because the parser stops there; then undefined. */
export function parseTree(file: string, toml: string, report: Report): Table | undefined {
  try {
    return table(parse(toml), locate(toml), file);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = (error.message.split("\n", 1)[0] ?? "").replace(/^Invalid TOML document: /, "");
    report(
      { file, line: error.line },
      `this is not TOML: ${reason}`,
      `correct it at column ${error.column}; https://toml.io/en/v1.0.0 has the rules`,
    );
    return undefined;
  }
}

function attach(value: TomlValue, place: Place, file: string): Value {
  const origin = { file, line: place.line };
  if (Array.isArray(value)) {
    return {
      kind: "list",
      items: value.map((item, index) => attach(item, inside(place, String(index)), file)),
      origin,
    };
  }
  if (typeof value === "bigint") return { kind: "scalar", value: Number(value), origin };
  if (typeof value !== "object" || value instanceof Date) return { kind: "scalar", value, origin };
  return table(value, place, file);
}

function table(value: Readonly<Record<string, TomlValue>>, place: Place, file: string): Table {
  const entries = Object.entries(value).map(([key, item]) => [key, attach(item, inside(place, key), file)] as const);
  // JavaScript objects list number-like keys first, but sockets keep the order they are written in.
  entries.sort(([, a], [, b]) => a.origin.line - b.origin.line);
  return { kind: "table", entries: new Map(entries), origin: { file, line: place.line } };
}

function inside(place: Place, key: string): Place {
  return place.children.get(key) ?? place;
}

/** `over` on top of `base`: tables key by key; everything else is replaced, and its origin with it. */
export function mergeTables(base: Table, over: Table): Table {
  const entries = new Map(base.entries);
  for (const [key, value] of over.entries) {
    const below = entries.get(key);
    entries.set(key, below?.kind === "table" && value.kind === "table" ? mergeTables(below, value) : value);
  }
  return { kind: "table", entries, origin: base.origin };
}

/** The same table with the specifiers in its strings expanded. An unknown one is reported. */
export function expandTable(tree: Table, specifiers: ReadonlyMap<string, string>, report: Report): Table {
  let isSame = true;
  const entries = new Map<string, Value>();
  for (const [key, value] of tree.entries) {
    const expanded = expandValue(value, specifiers, report);
    isSame &&= expanded === value;
    entries.set(key, expanded);
  }
  return isSame ? tree : { ...tree, entries };
}

function expandValue(value: Value, specifiers: ReadonlyMap<string, string>, report: Report): Value {
  if (value.kind === "table") return expandTable(value, specifiers, report);
  if (value.kind === "list") {
    const items = value.items.map((item) => expandValue(item, specifiers, report));
    return items.every((item, at) => item === value.items[at]) ? value : { ...value, items };
  }
  if (typeof value.value !== "string" || !value.value.includes("%")) return value;
  const text = expandSpecifiers(value.value, specifiers, (specifier) => {
    const remedy =
      specifier === "%i" || specifier === "%t"
        ? "only a berth TEMPLATE@INSTANCE has %i and %t; write the name itself, or %% for a percent sign"
        : "write %i (instance), %n (berth), %t (template), or %% for a percent sign";
    report(value.origin, `${JSON.stringify(value.value)} has the unknown specifier "${specifier}"`, remedy);
  });
  return { ...value, value: text };
}
