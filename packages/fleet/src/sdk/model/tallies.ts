/**
 * The counters and lists of a server. Agones takes their names from the GameServer's specification. Here every name is
 * there, with the capacity that Agones gives a list by default, and takes memory once it is changed. Pure.
 */
import { Refusal } from "../refusal.ts";

export interface Counter {
  readonly count: number;
  readonly capacity: number;
}

export interface List {
  readonly capacity: number;
  readonly values: readonly string[];
}

/** What is to change of a counter. `diff` 0: nothing is added. */
export interface CounterUpdate {
  readonly name: string;
  readonly count: number | undefined;
  readonly capacity: number | undefined;
  readonly diff: number;
}

/** `paths`: which of the fields count. Empty: those that have a value. */
export interface ListUpdate extends List {
  readonly name: string;
  readonly paths: readonly string[];
}

/** Agones: the most values of a list, and what it has unless a specification says otherwise. */
const MOST_VALUES = 1000;
const MOST_NAMES = 64;
const LONGEST = 256;
/** Bytes of all values of all lists: each watch of the server is told all of them. */
const MOST_BYTES = 256 * 1024;
const UNUSED_COUNTER: Counter = { count: 0, capacity: MOST_VALUES };
const UNUSED_LIST: List = { capacity: MOST_VALUES, values: [] };

export class Tallies {
  readonly counters: Map<string, Counter> = new Map();
  readonly lists: Map<string, List> = new Map();

  counter(name: string): Counter {
    return this.counters.get(named(name)) ?? UNUSED_COUNTER;
  }

  list(name: string): List {
    return this.lists.get(named(name)) ?? UNUSED_LIST;
  }

  updateCounter({ name, count: set, capacity: most, diff }: CounterUpdate): Counter {
    const before = this.counter(name);
    const capacity = most ?? before.capacity;
    const count = (set ?? before.count) + diff;
    if (capacity < 0) throw new Refusal("OUT_OF_RANGE", `capacity ${capacity} is below 0`);
    if (!Number.isSafeInteger(count) || count < 0 || count > capacity)
      throw new Refusal("OUT_OF_RANGE", `count ${count} of ${name} is not from 0 to its capacity ${capacity}`);
    return put(this.counters, name, { count, capacity });
  }

  updateList({ name, capacity: most, values: all, paths }: ListUpdate): List {
    const before = this.list(name);
    const unknown = paths.find((path) => path !== "capacity" && path !== "values");
    if (unknown !== undefined)
      throw new Refusal("INVALID_ARGUMENT", `${JSON.stringify(unknown)} is no field of a list`);
    const isMeant = (path: string, has: boolean): boolean => (paths.length === 0 ? has : paths.includes(path));
    const capacity = isMeant("capacity", most > 0) ? most : before.capacity;
    const values = isMeant("values", all.length > 0) ? [...new Set(all)] : before.values;
    if (capacity < 0 || capacity > MOST_VALUES)
      throw new Refusal("OUT_OF_RANGE", `capacity must be from 0 to ${MOST_VALUES}`);
    for (const value of values) short(value);
    // As in Agones: what is beyond the capacity is cut off.
    return this.#put(name, { capacity, values: values.slice(0, capacity) });
  }

  addValue(name: string, value: string): List {
    const { capacity, values } = this.list(name);
    if (values.includes(short(value))) throw new Refusal("ALREADY_EXISTS", `list ${name} has this value already`);
    if (values.length >= capacity)
      throw new Refusal("OUT_OF_RANGE", `list ${name} has its capacity of ${capacity} values`);
    return this.#put(name, { capacity, values: [...values, value] });
  }

  removeValue(name: string, value: string): List {
    const { capacity, values } = this.list(name);
    if (!values.includes(value)) throw new Refusal("NOT_FOUND", `list ${name} has no such value`);
    return this.#put(name, { capacity, values: values.filter((one) => one !== value) });
  }

  #put(name: string, list: List): List {
    const others = [...this.lists].flatMap(([other, { values }]) => (other === name ? [] : values));
    if (bytesOf(others) + bytesOf(list.values) > MOST_BYTES)
      throw new Refusal("RESOURCE_EXHAUSTED", `the lists of a server have ${MOST_BYTES / 1024} KiB at most`);
    return put(this.lists, name, list);
  }
}

function bytesOf(values: readonly string[]): number {
  return values.reduce((sum, value) => sum + Buffer.byteLength(value), 0);
}

function put<T>(all: Map<string, T>, name: string, value: T): T {
  if (!all.has(name) && all.size >= MOST_NAMES)
    throw new Refusal("RESOURCE_EXHAUSTED", `this server has ${MOST_NAMES} of them already`);
  all.set(name, value);
  return value;
}

function named(name: string): string {
  if (/^[A-Za-z0-9._-]{1,63}$/.test(name)) return name;
  throw new Refusal("INVALID_ARGUMENT", "a name is 1 to 63 of A-Z a-z 0-9 . _ -");
}

function short(value: string): string {
  if (value !== "" && value.length <= LONGEST) return value;
  throw new Refusal("INVALID_ARGUMENT", `a value has 1 to ${LONGEST} characters`);
}
