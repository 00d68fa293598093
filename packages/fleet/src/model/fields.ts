/** Reads values out of JSON or TOML. A value that does not fit throws INVALID_RECORD, which names the place in it. */
import { Fault } from "../fault.ts";

/** Checks a value. `at` is its place, as `berth set arena: ports[2]`. */
export type Reader<T> = (value: unknown, at: string) => T;

/** What both JSON and TOML can express. */
export type Json = boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** Tables in tables of a berth's description. A berth file has three. */
const MAX_DEPTH = 16;

export function invalid(at: string, problem: string): Fault {
  return new Fault("INVALID_RECORD", `${at}: ${problem}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null; // of JSON, and of TOML
}

/** The keys of one object, each read once. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #at: string;
  readonly #known = new Set<string>();

  constructor(value: unknown, at: string) {
    if (!isObject(value)) throw invalid(at, `must be a table, and is ${nameOf(value)}`);
    this.#values = value;
    this.#at = at;
  }

  /** A key that must be there. */
  get<T>(key: string, read: Reader<T>): T {
    const value = this.#take(key);
    if (value === undefined) throw invalid(this.#at, `${key} is missing`);
    return read(value, `${this.#at}: ${key}`);
  }

  /** A key that may be absent. */
  or<T, D>(key: string, read: Reader<T>, otherwise: D): T | D {
    const value = this.#take(key);
    return value === undefined ? otherwise : read(value, `${this.#at}: ${key}`);
  }

  /** Refuses every key that was not read. For what people write; records of a newer version may have more keys. */
  refuseOthers(): void {
    const unknown = Object.keys(this.#values).find((key) => !this.#known.has(key));
    if (unknown === undefined) return;
    throw invalid(this.#at, `there is no key ${unknown}; the keys are ${[...this.#known].sort().join(", ")}`);
  }

  #take(key: string): unknown {
    this.#known.add(key);
    return Object.hasOwn(this.#values, key) ? this.#values[key] : undefined;
  }
}

/** A text that matches the pattern; `what` says so in words. */
export function text(pattern: RegExp, what: string): Reader<string> {
  return (value, at) => {
    if (typeof value !== "string") throw invalid(at, `must be ${what}, and is ${nameOf(value)}`);
    if (!pattern.test(value)) throw invalid(at, `must be ${what}, and is ${JSON.stringify(value)}`);
    return value;
  };
}

export function oneOf<T extends string>(...values: readonly T[]): Reader<T> {
  return (value, at) => {
    const found = values.find((one) => one === value);
    if (found === undefined) throw invalid(at, `must be ${values.map((one) => `"${one}"`).join(" or ")}`);
    return found;
  };
}

export function integer(least: number, most: number): Reader<number> {
  return (value, at) => {
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
    const is = typeof value === "number" ? String(value) : nameOf(value);
    throw invalid(at, `must be an integer from ${least} to ${most}, and is ${is}`);
  };
}

export function list<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw invalid(at, `must be a list, and is ${nameOf(value)}`);
    return value.map((one, index) => read(one, `${at}[${index}]`));
  };
}

/** A table with keys of the writer's choice. */
export function table<T>(key: Reader<string>, read: Reader<T>): Reader<Readonly<Record<string, T>>> {
  return (value, at) => {
    if (!isObject(value)) throw invalid(at, `must be a table, and is ${nameOf(value)}`);
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [key(name, at), read(one, `${at}.${name}`)]));
  };
}

/** A table of anything that both JSON and TOML can express: no null, no date. */
export const jsonObject: Reader<JsonObject> = (value, at) => objectIn(value, at, 0);

export function isTable(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && !Array.isArray(value);
}

function objectIn(value: unknown, at: string, depth: number): JsonObject {
  if (!isObject(value)) throw invalid(at, `must be a table, and is ${nameOf(value)}`);
  if (depth > MAX_DEPTH) throw invalid(at, `has more than ${MAX_DEPTH} tables inside each other`);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, jsonIn(one, `${at}.${key}`, depth + 1)]));
}

function jsonIn(value: unknown, at: string, depth: number): Json {
  if (typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (!Array.isArray(value)) return objectIn(value, at, depth);
  if (depth > MAX_DEPTH) throw invalid(at, `has more than ${MAX_DEPTH} lists inside each other`);
  return value.map((one, index) => jsonIn(one, `${at}[${index}]`, depth + 1));
}

/** JSON text, read. `at` names it in the error. */
export function fromJson<T>(source: string, read: Reader<T>, at: string): T {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (error) {
    throw new Fault("INVALID_RECORD", `${at}: is no JSON`, { cause: error });
  }
  return read(value, at);
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  return typeof value === "object" ? "a table" : `a ${typeof value}`;
}
