/**
 * What a server's own socket is, which it is about to bind. What the kernel says without taking the socket's lock is
 * asked here; all else is a plan for a guard process, for the server can have the kernel hold that lock.
 */
import { constants } from "node:os";
import type { Native } from "../../../native.ts";
import { type Address, AF_INET, AF_INET6, AF_UNIX, decodeSockaddr } from "../../../net/address.ts";
import * as so from "../../../net/socket-constants.ts";
import { socketOption } from "../../../net/socket-queries.ts";
import { isKnownProtocol, kindOfType, type SocketKind } from "../../../net/transport.ts";
import type { ForeignCalls } from "../../access/foreign-calls.ts";
import type { OwnSettings } from "../../plans/carry-over.ts";
import { NewSockets } from "../../plans/new-sockets.ts";
import type { PlannedCall, SocketPlan, SocketResult } from "../../plans/socket-call.ts";

const { EINVAL } = constants.errno;

/** What a socket was made as. */
export interface SocketMake {
  readonly domain: number;
  readonly type: number;
  readonly kind: SocketKind;
  readonly isInet: boolean;
  /** SO_PROTOCOL. */
  readonly protocol: number;
  /** TCP, MPTCP, UDP or UNIX; not SCTP, UDP-Lite or another protocol. */
  readonly isServed: boolean;
}

/** What only the socket itself knows. */
export interface SocketState extends OwnSettings {
  /** Undefined if it has no address yet. */
  readonly bound: Address | undefined;
  readonly v6only: boolean;
}

/** Undefined for netlink, packet and other families: those never belong to a berth. */
export function makeOf(socket: number, sys: ForeignCalls): SocketMake | undefined {
  const option = (name: number): number => socketOption(socket, so.SOL_SOCKET, name, sys);
  const domain = option(so.SO_DOMAIN);
  const type = option(so.SO_TYPE);
  const kind = kindOfType(type);
  const isInet = domain === AF_INET || domain === AF_INET6;
  if (kind === undefined || (!isInet && domain !== AF_UNIX)) return undefined;
  const protocol = option(so.SO_PROTOCOL);
  const isServed = isKnownProtocol(kind, isInet ? "inet" : "unix", protocol);
  return { domain, type, kind, isInet, protocol, isServed };
}

/** All that an answer needs, in one batch. */
export function* statePlan(make: SocketMake, sys: Native): SocketPlan<SocketState> {
  return stateIn(yield stateCalls(make, sys), make, sys);
}

/** The calls of {@link statePlan}. */
export function stateCalls({ domain, type }: Pick<SocketMake, "domain" | "type">, sys: Native): readonly PlannedCall[] {
  return [
    { call: "getsockname" },
    { call: "getsockopt", level: so.IPPROTO_IPV6, option: so.IPV6_V6ONLY, words: 1 },
    { call: "getfl" },
    { call: "batch", batch: NewSockets.of(domain, type, sys).batch },
  ];
}

/** What the results of {@link stateCalls} mean. */
export function stateIn(
  [name, v6only, flags, seen]: readonly SocketResult[],
  { domain, type }: Pick<SocketMake, "domain" | "type">,
  sys: Native,
): SocketState {
  const kind = NewSockets.of(domain, type, sys);
  const address = name === undefined || name.result < 0 ? undefined : addressIn(name.value, name.result);
  const isBound = address !== undefined && (address.family === "unix" || address.port !== 0);
  return {
    settings: kind.settingsIn(seen),
    flags: flags?.result ?? -1,
    bound: isBound ? address : undefined,
    v6only: v6only !== undefined && v6only.result >= 0 && v6only.value[0] === 1,
  };
}

/** Binds it; 0 or -errno. */
export function* bindPlan(sockaddr: Uint8Array): SocketPlan<number> {
  const [bound] = yield [{ call: "bind", sockaddr }];
  return bound?.result ?? -EINVAL;
}

function addressIn(words: Int32Array, length: number): Address | undefined {
  return decodeSockaddr(new Uint8Array(words.buffer, words.byteOffset, length));
}
