/**
 * Whether two binds of one server are in each other's way, as the kernel decides it (inet_csk_bind_conflict,
 * udp_lib_lport_inuse). The first TCP socket counts as one that listens. Pure.
 */
import { isIPv4 } from "node:net";
import { type InetAddress, mappedIPv4 } from "../../net/address.ts";
import type { SocketKind } from "../../net/transport.ts";

/** What a server asked for, and by which options its socket may share that. */
export interface Bound {
  readonly kind: SocketKind;
  readonly address: InetAddress;
  readonly v6only: boolean;
  readonly reusesPort: boolean;
  readonly reusesAddress: boolean;
}

/** EADDRINUSE, without a broker. */
export function conflict(first: Bound, second: Bound): boolean {
  return overlap(first, second) && !mayShare(first, second);
}

/** Whether packets or connections could be meant for either. */
export function overlap(first: Bound, second: Bound): boolean {
  if (first.kind !== second.kind || first.address.port !== second.address.port) return false;
  const [a, b] = [hostOf(first), hostOf(second)];
  const isSameFamily = isIPv4(a) === isIPv4(b);
  if (isSameFamily) return a === b || isAny(a) || isAny(b);
  const [six, host] = isIPv4(a) ? [second, b] : [first, a];
  return isAny(host) && !six.v6only;
}

export function mayShare(first: Bound, second: Bound): boolean {
  if (first.reusesPort && second.reusesPort) return true;
  return first.kind === "datagram" && first.reusesAddress && second.reusesAddress;
}

function hostOf({ address }: Bound): string {
  return mappedIPv4(address.host) ?? `${address.host}${address.scope === undefined ? "" : `%${address.scope}`}`;
}

function isAny(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
