/**
 * Decides which held socket a server gets for the address it binds. Pure: an address and a kind in, a candidate or none
 * out. docs/bind-delivery.md has the rules in prose.
 */
import { isIPv4 } from "node:net";
import { type Address, type InetAddress, mappedIPv4, type UnixAddress } from "../../net/address.ts";
import type { SocketKind } from "../../net/transport.ts";

/** What the server asked for. */
export interface BindRequest {
  readonly kind: SocketKind;
  readonly address: Address;
  /** IPV6_V6ONLY of the server's own socket. */
  readonly v6only: boolean;
}

/** A held socket it may get. */
export interface Candidate {
  readonly kind: SocketKind;
  readonly address: Address;
  /** Takes IPv4 as well: [::] without IPV6_V6ONLY. */
  readonly dualStack: boolean;
}

/** The candidates that fit, best first. Equal ones keep their order. */
export function matchBind<C extends Candidate>(request: BindRequest, candidates: readonly C[]): C[] {
  return candidates
    .map((candidate) => ({ candidate, rank: rankOf(request, candidate) }))
    .filter(({ rank }) => rank > 0)
    .sort((a, b) => b.rank - a.rank)
    .map(({ candidate }) => candidate);
}

/** Whether an address is a loopback address. */
export function isLoopback(address: Address): boolean {
  if (address.family === "ipv4") return address.host.startsWith("127.");
  return address.family === "ipv6" && (address.host === "::1" || mappedIPv4(address.host)?.startsWith("127.") === true);
}

/** 0 when it does not fit; higher is a better fit. */
function rankOf(request: BindRequest, candidate: Candidate): number {
  if (request.kind !== candidate.kind) return 0;
  const asked = request.address;
  const held = candidate.address;
  if (asked.family === "unix") return held.family === "unix" && sameUnix(asked, held) ? 3 : 0;
  // The families must be the same, since the server reads peer addresses in the family it asked for.
  if (held.family === "unix" || asked.family !== held.family || asked.port !== held.port) return 0;
  // Only a dual-stack socket reaches an IPv4 address mapped into IPv6 (::ffff:a.b.c.d).
  if (mappedIPv4(asked.host) !== undefined && !candidate.dualStack && !sameHost(asked, held)) return 0;
  // Among sockets for [::], one that is dual-stack as the server's own socket is comes first.
  const wholeness = candidate.dualStack === !request.v6only ? 0.5 : 0;
  if (sameHost(asked, held)) return 3 + wholeness;
  // A server that binds every address gets the one address that the berth has.
  if (isWildcard(asked)) return 2 + wholeness;
  // A server that binds one address gets a socket for all, unless it binds a loopback address.
  return isWildcard(held) && !isLoopback(asked) ? 1 + wholeness : 0;
}

function sameUnix(asked: UnixAddress, held: UnixAddress): boolean {
  return asked.abstract === held.abstract && asked.path === held.path;
}

function sameHost(asked: InetAddress, held: InetAddress): boolean {
  return asked.host === held.host && (asked.scope ?? "0") === (held.scope ?? "0");
}

/** Whether it stands for every address of its family. */
export function isWildcard(address: InetAddress): boolean {
  return isIPv4(address.host) ? address.host === "0.0.0.0" : address.host === "::";
}
