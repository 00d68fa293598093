/** Ranges of ports, and which port of them is free. */
import { Fields, integer, invalid, type Reader } from "./fields.ts";

export interface PortRange {
  readonly first: number;
  /** Belongs to the range. */
  readonly last: number;
}

export const port: Reader<number> = integer(1, 65_535);

export const portRange: Reader<PortRange> = (value, at) => {
  const fields = new Fields(value, at);
  return ordered({ first: fields.get("first", port), last: fields.get("last", port) }, at);
};

/** `27000-27099`, or one port. */
export function parsePortRange(source: string, at: string): PortRange {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(source) ?? [];
  if (first === undefined) throw invalid(at, `${JSON.stringify(source)} is no range of ports: write FIRST-LAST`);
  return ordered({ first: port(Number(first), at), last: port(Number(last), at) }, at);
}

function ordered(range: PortRange, at: string): PortRange {
  if (range.first > range.last) throw invalid(at, `port ${range.first} is above port ${range.last}`);
  return range;
}

/**
 * The lowest ports of the pools that are not taken, at most `count`; fewer if there are no more. Pools may overlap: no
 * port comes twice. A port is one number for TCP and UDP.
 */
export function freePorts(pools: readonly PortRange[], taken: ReadonlySet<number>, count: number): number[] {
  const found: number[] = [];
  let next = 0;
  for (const { first, last } of [...pools].sort((one, other) => one.first - other.first)) {
    for (let at = Math.max(first, next); at <= last && found.length < count; at++) {
      if (!taken.has(at)) found.push(at);
    }
    next = Math.max(next, last + 1);
  }
  return found;
}
