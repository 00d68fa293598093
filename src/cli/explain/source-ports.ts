/**
 * Tells ports that a server listens on from those that it only sends from: a resolver takes a random one for each
 * question, and closes it with the answer. Pure.
 */
import { formatListenAddress } from "../../net/address.ts";
import type { SeenBind } from "./recorder.ts";

/** So many different ports of one address, far apart, are not written down by anybody. */
const MANY = 6;
/** Ports are far apart when they spread over so many times their number. */
const SPREAD = 20;
const FIRST_FREE_PORT = 1024;

/** The binds of random source ports, by the address that they have in common. `command` may name ports to listen on. */
export function sourcePorts(binds: readonly SeenBind[], command: readonly string[]): Map<string, readonly SeenBind[]> {
  const written = new Set(command.flatMap((word) => Array.from(word.matchAll(/\d+/g), ([digits]) => Number(digits))));
  const groups = new Map<string, SeenBind[]>();
  for (const bind of binds) {
    const { address, kind } = bind.listen;
    if (kind !== "datagram" || address.family === "unix" || bind.protocol !== undefined || bind.error !== 0) continue;
    if (address.port < FIRST_FREE_PORT || written.has(address.port) || isElsewhere(bind, binds)) continue;
    const name = formatListenAddress({ ...bind.listen, address: { ...address, port: 0 } }).replace(/:0$/, "");
    groups.set(name, [...(groups.get(name) ?? []), bind]);
  }
  const sources = [...groups].map(
    ([name, group]) => [name, isRandom(group) ? group : group.filter(({ isClosed }) => isClosed === true)] as const,
  );
  return new Map(sources.filter(([, group]) => group.length > 0));
}

/** A port that is bound as TCP, or at another address too, is one that players know. */
function isElsewhere(bind: SeenBind, binds: readonly SeenBind[]): boolean {
  return binds.some((other) => other !== bind && portOf(other) === portOf(bind));
}

function isRandom(group: readonly SeenBind[]): boolean {
  const ports = group.map(portOf);
  return group.length >= MANY && Math.max(...ports) - Math.min(...ports) > SPREAD * group.length;
}

/** Of an internet address; 0 for a path. */
export function portOf({ listen: { address } }: SeenBind): number {
  return address.family === "unix" ? 0 : address.port;
}
