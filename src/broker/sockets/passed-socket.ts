/**
 * Sockets that were passed to the broker: by an earlier broker through the service manager's store, or by a .socket
 * unit. Asks the kernel what each one is (getsockname(2) and options), and decides whether it fits the configuration.
 * It changes nothing.
 */
import { fstatSync } from "node:fs";
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import {
  type Address,
  AF_INET,
  AF_INET6,
  AF_UNIX,
  formatAddress,
  formatListenAddress,
  type ListenAddress,
} from "../../net/address.ts";
import * as so from "../../net/socket-constants.ts";
import { boundAddressIfKnown, socketOption } from "../../net/socket-queries.ts";
import { isKnownProtocol, kindOfType } from "../../net/transport.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { keyHash, type StoredSocket } from "../record/stored-name.ts";
import { isInode } from "./unix-path.ts";

/** A passed socket. The holder of this object owns its descriptor. */
export interface PassedSocket {
  /** Its name in LISTEN_FDNAMES. */
  readonly name: string;
  readonly handle: FdHandle;
  /** Its parsed name, if it came from the store. */
  readonly stored?: StoredSocket;
  /** Its copy in the store. */
  readonly storedCopy?: StoredCopy;
  /** What the kernel reports; a sentence if no berth could use it. */
  readonly is: ListenAddress | string;
}

/** Describes a descriptor for {@link fits}. Owns the descriptor. */
export function passedSocket(
  name: string,
  handle: FdHandle,
  sys: Native,
  store: { readonly stored?: StoredSocket; readonly storedCopy?: StoredCopy } = {},
): PassedSocket {
  return { name, handle, is: identify(handle.fd, store.stored !== undefined, sys), ...store };
}

/** The socket's inode: no other open socket has it. */
export function socketInode(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino;
}

/**
 * Whether the passed socket fits. One of ours must have the same key: everything that was fixed at bind(2). One of a
 * unit must be bound to the configured address; port 0 matches any port.
 */
export function fits(
  passed: PassedSocket,
  listen: ListenAddress,
  options: SocketOptions,
  key: string,
  sys: Native,
): boolean {
  const { is, stored } = passed;
  if (typeof is === "string" || is.kind !== listen.kind || is.address.family !== listen.address.family) return false;
  // A tenant may have connected it. Then the kernel returns another address than the one it was bound to.
  if (stored !== undefined)
    return (
      stored.hash === keyHash(key) && stored.inode === socketInode(passed.handle.fd) && isReachable(listen, stored)
    );
  const v6only = !listen.dualStack && options.v6only;
  return sameAddress(is.address, listen.address, sys) && (is.address.family !== "ipv6" || is.dualStack === !v6only);
}

/** Whether its path is still the one it was bound to. */
function isReachable({ address }: ListenAddress, { path }: StoredSocket): boolean {
  return address.family !== "unix" || address.abstract || typeof path !== "bigint" || isInode(address.path, path);
}

/** Describes a passed socket, for a message. */
export function describePassed({ is }: Pick<PassedSocket, "is">): string {
  return typeof is === "string" ? is : formatListenAddress(is);
}

function sameAddress(is: Address, wanted: Address, sys: Native): boolean {
  if (is.family === "unix" || wanted.family === "unix")
    return is.family === "unix" && wanted.family === "unix" && formatAddress(is) === formatAddress(wanted);
  const scope = wanted.scope === undefined || /^\d+$/.test(wanted.scope) ? wanted.scope : sys.ifindex(wanted.scope);
  const sameScope = Number(is.scope ?? 0) === Number(scope ?? 0);
  return is.host === wanted.host && sameScope && (wanted.port === 0 || is.port === wanted.port);
}

/** One of ours need not listen: a tenant may have shut it down. */
function identify(fd: number, ours: boolean, sys: Native): ListenAddress | string {
  const option = (level: number, name: number): number => socketOption(fd, level, name, sys);
  const kind = kindOfType(option(so.SOL_SOCKET, so.SO_TYPE));
  if (kind === undefined) return "not a socket that berthd knows";
  const domain = option(so.SOL_SOCKET, so.SO_DOMAIN);
  const protocol = option(so.SOL_SOCKET, so.SO_PROTOCOL);
  const isKnown = isKnownProtocol(kind, domain === AF_UNIX ? "unix" : "inet", protocol);
  if (![AF_UNIX, AF_INET, AF_INET6].includes(domain) || !isKnown)
    return "a socket of another protocol than TCP, UDP and UNIX";
  if (!ours && kind !== "datagram" && option(so.SOL_SOCKET, so.SO_ACCEPTCONN) !== 1)
    return `a ${kind} socket that does not listen`;
  const address = boundAddressIfKnown(fd, sys);
  if (address === undefined) return "a socket without an address";
  const dualStack = domain === AF_INET6 && option(so.IPPROTO_IPV6, so.IPV6_V6ONLY) === 0;
  return { kind, address, dualStack };
}
