/** Decides for each bind that was seen whether a berth should hold it, and if not, why. Pure. */
import { constants } from "node:os";
import { isLoopback } from "../../broker/bind/bind-match.ts";
import { findConflicts } from "../../config/conflicts.ts";
import type { OtherBinds } from "../../config/keys/spec.ts";
import { errnoName } from "../../errors.ts";
import { type Address, formatAddress, formatListenAddress, type ListenAddress, mappedIPv4 } from "../../net/address.ts";
import { protocolName } from "../../net/transport.ts";
import { printable } from "../../printable.ts";
import type { SeenBind } from "./recorder.ts";
import { portOf, sourcePorts } from "./source-ports.ts";

const { EACCES, EADDRINUSE } = constants.errno;
/** Lower ports need privilege (ip(7)), so no value of `other-binds` gives a server without privilege one of them. */
const FIRST_FREE_PORT = 1024;
/** A server that finds its port busy often tries the next ports, up to this distance. */
const HOPS = 10;

/** What becomes of the binds. */
export interface Judgement {
  readonly held: readonly SeenBind[];
  /** A line for each bind without a place in the configuration: why it needs none, or can have none. */
  readonly others: readonly string[];
  /** What `server.other-binds` has to be for what is not held. */
  readonly otherBinds: OtherBinds;
}

/** Sockets for more addresses are chosen first: they can replace the others. */
export function judge(binds: readonly SeenBind[], command: readonly string[]): Judgement {
  const random = sourcePorts(binds, command);
  const sources = new Set([...random.values()].flat());
  const rest = binds.filter((bind) => !sources.has(bind));
  const wanted = rest.filter((bind) => !isForeign(bind) && reasonByItself(bind) === undefined);
  const isPublic = wanted.some(({ listen }) => !isLoopback(listen.address));
  const otherBinds = otherBindsFor(rest, wanted, random.size > 0, isPublic);
  const passes = `other-binds = "${otherBinds}" below lets it through`;
  const isLetThrough = ({ listen: { address } }: SeenBind): boolean =>
    isPublic && otherBinds !== "ephemeral" && isOwnBusiness(address);
  const held = new Set<SeenBind>();
  const reasons = new Map<SeenBind, string>();
  for (const bind of [...wanted].sort((a, b) => breadth(b) - breadth(a))) {
    const reason = isLetThrough(bind)
      ? `reaches this host alone; ${passes}`
      : (hopReason(bind, binds) ?? rivalReason(bind, [...held]));
    if (reason === undefined) held.add(bind);
    else reasons.set(bind, reason);
  }
  const others = rest.flatMap((bind) => {
    const why = reasonByItself(bind) ?? (isForeign(bind) ? foreignReason(bind, passes) : reasons.get(bind));
    return why === undefined ? [] : [`${title(bind)}: ${why}`];
  });
  return {
    held: binds.filter((bind) => held.has(bind)),
    others: [...others, ...[...random].map(([name, group]) => `${randomTitle(name, group)}: ${passes}`)],
    otherBinds,
  };
}

function otherBindsFor(
  rest: readonly SeenBind[],
  wanted: readonly SeenBind[],
  hasRandom: boolean,
  isPublic: boolean,
): OtherBinds {
  if (rest.some((bind) => isForeign(bind) && bind.error === 0 && portOf(bind) >= FIRST_FREE_PORT)) return "allow";
  if (hasRandom) return "ephemeral";
  return isPublic && wanted.some(({ listen }) => isOwnBusiness(listen.address)) ? "loopback" : "refuse";
}

/** Of a protocol that a berth cannot hold. */
function isForeign({ protocol }: SeenBind): boolean {
  return protocol !== undefined;
}

function foreignReason(bind: SeenBind, passes: string): string {
  const isRefused = portOf(bind) < FIRST_FREE_PORT || bind.error !== 0;
  return `a berth cannot hold ${protocolName(bind.protocol ?? 0)}${isRefused ? ", and this bind fails there" : `; ${passes}`}`;
}

function reasonByItself(bind: SeenBind): string | undefined {
  const { address } = bind.listen;
  if (address.family === "unix") return "its own path or name, which needs no berth; add a section to hold it";
  if (bind.error !== 0 && bind.error !== EADDRINUSE && bind.error !== EACCES)
    return `failed with ${errnoName(bind.error)}; it would fail in a berth too`;
  if (address.port === 0) return "any free port will do, so this bind is never refused";
  return undefined;
}

function isOwnBusiness(address: Address): boolean {
  return address.family !== "unix" && isLoopback(address) && address.port >= FIRST_FREE_PORT;
}

function breadth({ listen: { address, dualStack }, error }: SeenBind): number {
  const isWildcard = address.family !== "unix" && (address.host === "::" || address.host === "0.0.0.0");
  // Binds that succeeded are chosen before those that failed.
  return (error === 0 ? 4 : 0) + (dualStack ? 2 : isWildcard ? 1 : 0);
}

/**
 * A port that was bound, or tried, only because another one was busy. After EACCES no server goes on to another port:
 * it is told that it has the one it asked for (recorder.ts).
 */
function hopReason(bind: SeenBind, binds: readonly SeenBind[]): string | undefined {
  const { listen, error } = bind;
  const { kind, address } = listen;
  if (address.family === "unix") return undefined;
  // A port that failed as well may be one of its own. Right after one that failed, it was the next try.
  const distance = error === 0 ? HOPS : 1;
  const first = binds
    .slice(0, binds.indexOf(bind))
    .find(
      (other) =>
        other.error === EADDRINUSE &&
        other.listen.kind === kind &&
        other.listen.address.family === address.family &&
        other.listen.address.host === address.host &&
        address.port > other.listen.address.port &&
        address.port <= other.listen.address.port + distance,
    );
  return first && `taken because ${formatListenAddress(first.listen)} was busy, which does not happen in a berth`;
}

function rivalReason(bind: SeenBind, chosen: readonly SeenBind[]): string | undefined {
  const rival = chosen.find((other) => excludes(bind.listen, other.listen));
  if (rival === undefined) return undefined;
  const text = formatListenAddress(rival.listen);
  return rival.listen.address.family === bind.listen.address.family
    ? `gets the socket for ${text}`
    : `cannot be held beside ${text}; tell the server to use one of them`;
}

/** Uses the configuration's own rules, so the suggestion passes them. */
function excludes(a: ListenAddress, b: ListenAddress): boolean {
  const origin = { file: "", line: 0 };
  const socket = (listen: ListenAddress) => ({
    name: "",
    listen: [{ ...listen, origin }],
    options: { backlog: 1, v6only: !isMapped(listen), mode: 0 },
  });
  return findConflicts([{ name: "", sockets: [socket(a), socket(b)] }]).length > 0;
}

/** Whether it is an IPv4 address on an IPv6 socket. */
export function isMapped({ address }: ListenAddress): boolean {
  return address.family === "ipv6" && mappedIPv4(address.host) !== undefined;
}

/** What was bound, by which program, and how often. */
export function title({ listen, protocol, program, count }: SeenBind): string {
  const address =
    protocol === undefined ? formatListenAddress(listen) : `${protocolName(protocol)} ${formatAddress(listen.address)}`;
  return `${printable(address)} by ${printable(program)}${count > 1 ? `, ${count} times` : ""}`;
}

function randomTitle(name: string, group: readonly SeenBind[]): string {
  const ports = group.map(portOf);
  const programs = [...new Set(group.map(({ program }) => printable(program)))].join(", ");
  const [only] = ports;
  if (ports.length === 1) return `${name}, port ${only}, closed again, by ${programs}`;
  return `${name}, ${group.length} random ports from ${Math.min(...ports)} to ${Math.max(...ports)} by ${programs}`;
}
