/**
 * Sockets that were passed to the broker: by an earlier broker through the service manager's store, or by a .socket
 * unit. Tells what each one is, as far as that needs no lock of it, and decides whether it fits the configuration. It
 * changes nothing.
 */
import { fstatSync } from "node:fs";
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import type { FdCalls, FdHandle } from "../../fd.ts";
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
import type { Kept } from "../guard/keeper.ts";
import type { OptionState } from "../plans/option-state.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import { keyHash, type StoredSocket } from "../record/stored-name.ts";
import { SocketTables } from "./holders/socket-holders.ts";
import { isInode, removeUnixPath } from "./unix-path.ts";

/** A passed socket. The holder of this object owns its descriptor. */
export interface PassedSocket {
  /** Its name in LISTEN_FDNAMES. */
  readonly name: string;
  readonly handle: FdHandle;
  /** Its parsed name, if it came from the store. */
  readonly stored?: StoredSocket;
  /** Its copy in the store. */
  readonly storedCopy?: StoredCopy;
  /** Its copy in the keeper, while it has no place. */
  readonly kept?: Kept;
  /** What the kernel reports; a sentence if no berth could use it. */
  readonly is: ListenAddress | string;
  /** The options that it came with, where a .socket unit had bound it. */
  readonly given?: OptionState;
  /** It did not answer: what it is, is known only as far as that needs no lock. */
  readonly isMute?: true;
}

/** Describes a descriptor, as far as that needs no socket's lock: examine-sockets.ts does the rest. Owns it. */
export function passedSocket(
  name: string,
  handle: FdHandle,
  sys: Native,
  { tables = new SocketTables(), ...store }: PassedFrom = {},
): PassedSocket {
  return { name, handle, is: identify(handle.fd, store.stored !== undefined, tables, sys), ...store };
}

interface PassedFrom extends Pick<PassedSocket, "stored" | "storedCopy"> {
  /** For many, read once. */
  readonly tables?: SocketTables;
}

/** The same, with no copy in a store. */
export function withoutCopy({ storedCopy: _, ...passed }: PassedSocket): PassedSocket {
  return passed;
}

/** The socket's inode: no other open socket has it. */
export function socketInode(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino;
}

/** What a berth has: its sockets, and those that were passed for it and are aside. */
interface Having {
  readonly sockets: readonly { readonly socket: Pick<StoredSocket, "inode"> }[];
  readonly aside: readonly PassedSocket[];
}

/** The inodes of all sockets that these have. */
export function inodesOf(owners: readonly Having[]): bigint[] {
  const inodes: bigint[] = [];
  for (const { sockets, aside } of owners) {
    for (const { socket } of sockets) inodes.push(socket.inode);
    for (const { handle } of aside) inodes.push(socketInode(handle.fd));
  }
  return inodes;
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
  const isAsOpen = is.address.family !== "ipv6" || passed.isMute === true || is.dualStack === !v6only;
  return sameAddress(is.address, listen.address, sys) && isAsOpen;
}

/** Closes it for good: its copy in the store, and its path if the broker made that. */
export function dropPassed({ handle, is, stored, storedCopy, kept }: PassedSocket, sys: FdCalls): void {
  storedCopy?.drop();
  // A tenant may have had it: then this must not be the last one.
  if (kept?.isThere === true) handle.close();
  else sys.closeForeign(handle.steal());
  kept?.drop();
  const isPath = typeof is !== "string" && is.address.family === "unix" && !is.address.abstract;
  if (isPath && typeof stored?.path === "bigint") removeUnixPath(is.address.path, stored.path);
}

/** Another descriptor of the same socket. */
export function duplicate({ kept: _, ...passed }: PassedSocket): PassedSocket {
  return { ...passed, handle: passed.handle.dup() };
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

/**
 * What the kernel tells without the socket's lock, which a tenant may hold. One of ours need not listen: a tenant may
 * have shut it down. An address that is not listed is the unspecified one, until somebody asks for it.
 */
function identify(fd: number, ours: boolean, tables: SocketTables, sys: Native): ListenAddress | string {
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
  if (domain === AF_UNIX) {
    // The name of a UNIX socket takes no lock to read (unix_getname in net/unix/af_unix.c).
    const address = boundAddressIfKnown(fd, sys);
    return address === undefined ? "a socket without an address" : { kind, address, dualStack: false };
  }
  const family = domain === AF_INET6 ? "ipv6" : "ipv4";
  const unspecified: Address = { family, host: family === "ipv6" ? "::" : "0.0.0.0", port: 0 };
  return { kind, address: tables.addressOf(kind, family, socketInode(fd)) ?? unspecified, dualStack: false };
}

/** Where it is bound. The kernel chose the port if that of `address`, the configured one, is 0. */
export function boundAt({ is }: PassedSocket, address: Address): Address {
  // Any other port is the configured one, also where the kernel no longer lists a socket that a tenant shut down.
  if (address.family === "unix" || address.port !== 0) return address;
  return typeof is === "string" || is.address.family === "unix" ? address : { ...address, port: is.address.port };
}
