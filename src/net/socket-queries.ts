/** What programs ask the kernel about sockets, each question in one place. Nothing here changes a socket. */

import { BerthError, check } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import { type Address, AF_UNIX, decodeSockaddr } from "./address.ts";
import { POLLHUP, POLLRDHUP, SO_COOKIE, SO_ERROR, SO_NETNS_COOKIE, SOL_SOCKET } from "./socket-constants.ts";
import { type SocketKind, typeNumber } from "./transport.ts";

/** struct sockaddr_storage: room for an address of any family. */
const SOCKADDR_MAX = 128;

/** Two connected UNIX sockets, close-on-exec and non-blocking (socketpair(2)). Throws {@link SysError}. */
export function socketPair(kind: SocketKind, sys: Native): readonly [FdHandle, FdHandle] {
  const pair = new Int32Array(2);
  check("socketpair", sys.socketpair(AF_UNIX, typeNumber(kind), pair));
  const [one, other] = Array.from(pair, (fd) => FdHandle.adopt(fd, sys));
  if (one === undefined || other === undefined) throw new BerthError("SYSTEM_ERROR", "socketpair gave no pair");
  return [one, other];
}

/** The value of an option that is one int and never negative, or -errno (getsockopt(2)). */
export function socketOption(fd: number, level: number, option: number, sys: Pick<Native, "getsockopt">): number {
  const value = new Int32Array(1);
  const result = sys.getsockopt(fd, level, option, value);
  return result < 0 ? result : (value[0] ?? 0);
}

/** The number of a socket that no other one of this kernel has (SO_COOKIE in socket(7)). 0 if it has none. */
export function socketCookie(fd: number, sys: Pick<Native, "getsockopt">): bigint {
  const words = new BigUint64Array(1);
  return sys.getsockopt(fd, SOL_SOCKET, SO_COOKIE, new Int32Array(words.buffer)) < 0 ? 0n : (words[0] ?? 0n);
}

/**
 * Tells the network namespace of a socket from all others. It is that of the process when it made the socket. Undefined
 * before Linux 5.14.
 */
export function networkCookie(fd: number, sys: Pick<Native, "getsockopt">): string | undefined {
  const words = new Int32Array(2);
  return sys.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, words) < 0 ? undefined : words.join();
}

/** Reads the error that is pending on a socket, which clears it (socket(7), SO_ERROR). */
export function clearPendingError(fd: number, sys: Pick<Native, "getsockopt">): void {
  socketOption(fd, SOL_SOCKET, SO_ERROR, sys);
}

/**
 * Whether it was shut down, or is a stream socket that neither listens nor is connected. poll(2) calls it ready for
 * ever, whatever it is asked for.
 */
export function hangsUp(fd: number, sys: Pick<Native, "pollNow">): boolean {
  return (Math.max(0, sys.pollNow(fd, POLLRDHUP)) & (POLLHUP | POLLRDHUP)) !== 0;
}

/** Where a socket is bound; undefined for a UNIX socket without a name. Throws {@link SysError} with `path`. */
export function boundAddress(fd: number, sys: Native, path?: string): Address | undefined {
  const bytes = new Uint8Array(SOCKADDR_MAX);
  return decodeSockaddr(bytes.subarray(0, check("getsockname", sys.getsockname(fd, bytes), path)));
}

/** As {@link boundAddress}; undefined too when the kernel does not say. */
export function boundAddressIfKnown(fd: number, sys: Native): Address | undefined {
  const bytes = new Uint8Array(SOCKADDR_MAX);
  const length = sys.getsockname(fd, bytes);
  return length < 0 ? undefined : decodeSockaddr(bytes.subarray(0, length));
}

/** Whether a socket is connected to a peer (getpeername(2)). */
export function isConnected(fd: number, sys: Native): boolean {
  return sys.getpeername(fd, new Uint8Array(SOCKADDR_MAX)) >= 0;
}
