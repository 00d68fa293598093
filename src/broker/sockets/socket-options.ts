/** From the options of a `[sockets.NAME]` section to setsockopt(2), in the order the kernel wants. It binds nothing. */
import { constants } from "node:os";
import { familyNumber, formatListenAddress, type ListenAddress, typeNumber } from "../../address.ts";
import type { SocketOptions } from "../../config/spec.ts";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import * as so from "../../socket-constants.ts";

const { EPERM } = constants.errno;

/** A new socket for an address, with all its options, not bound yet. Throws {@link SysError}. */
export function openSocket(listen: ListenAddress, options: SocketOptions, sys: Native): FdHandle {
  const fd = check(
    "socket",
    sys.socket(familyNumber(listen.address), typeNumber(listen.kind), 0),
    formatListenAddress(listen),
  );
  const handle = FdHandle.adopt(fd, sys);
  try {
    makeBlocking(fd, sys);
    applyBindOptions(sys, fd, listen, options);
    applyOptions(sys, fd, listen, options);
    return handle;
  } catch (error) {
    handle.close();
    throw error;
  }
}

/** A server that calls accept or recv right away expects to wait there, as from systemd (NonBlocking=no, systemd.service(5)). */
export function makeBlocking(fd: number, sys: Native): void {
  const flags = sys.getfl(fd);
  if (flags >= 0 && (flags & so.O_NONBLOCK) !== 0) sys.setfl(fd, flags & ~so.O_NONBLOCK);
}

/** What must be set before bind(2); of one that is bound already, what can still be set. */
export function applyBindOptions(
  sys: Native,
  fd: number,
  listen: ListenAddress,
  options: SocketOptions,
  state: "unbound" | "bound" = "unbound",
): void {
  const set = setter(sys, fd, listen);
  const { family } = listen.address;
  if (family === "unix") return;
  // Lets a listener come back while connections of the last one linger; on UDP it would let others take the port.
  if (listen.kind === "stream") set("SO_REUSEADDR", so.SOL_SOCKET, so.SO_REUSEADDR, 1);
  if (family === "ipv6" && state === "unbound")
    set("IPV6_V6ONLY", so.IPPROTO_IPV6, so.IPV6_V6ONLY, options.v6only && !listen.dualStack ? 1 : 0);
  if (options.reusePort) set("SO_REUSEPORT", so.SOL_SOCKET, so.SO_REUSEPORT, 1);
  if (options.freebind && family === "ipv4") set("IP_FREEBIND", so.IPPROTO_IP, so.IP_FREEBIND, 1);
  if (options.freebind && family === "ipv6") set("IPV6_FREEBIND", so.IPPROTO_IPV6, so.IPV6_FREEBIND, 1);
  if (options.device !== undefined) {
    set("SO_BINDTODEVICE", so.SOL_SOCKET, so.SO_BINDTODEVICE, Buffer.from(`${options.device}\0`));
  }
}

/** What can be set at any time. */
export function applyOptions(sys: Native, fd: number, listen: ListenAddress, options: SocketOptions): void {
  const set = setter(sys, fd, listen);
  const buffer = (name: string, force: number, plain: number, bytes: number | undefined): void => {
    // Beyond net.core.[rw]mem_max only CAP_NET_ADMIN helps; without it the kernel cuts the size (socket(7)).
    if (bytes !== undefined && sys.setsockopt(fd, so.SOL_SOCKET, force, bytes) === -EPERM)
      set(name, so.SOL_SOCKET, plain, bytes);
  };
  const flag = (name: string, level: number, option: number, value: boolean | number | undefined): void => {
    if (value !== undefined) set(name, level, option, Number(value));
  };
  const { family } = listen.address;
  buffer("SO_RCVBUF", so.SO_RCVBUFFORCE, so.SO_RCVBUF, options.receiveBuffer);
  buffer("SO_SNDBUF", so.SO_SNDBUFFORCE, so.SO_SNDBUF, options.sendBuffer);
  if (family === "unix") return;
  flag("SO_MARK", so.SOL_SOCKET, so.SO_MARK, options.mark);
  if (family === "ipv4" || listen.dualStack || !options.v6only) flag("IP_TOS", so.IPPROTO_IP, so.IP_TOS, options.tos);
  if (family === "ipv6") flag("IPV6_TCLASS", so.IPPROTO_IPV6, so.IPV6_TCLASS, options.tos);
  // After IP_TOS, which sets a priority of its own (ip(7)).
  flag("SO_PRIORITY", so.SOL_SOCKET, so.SO_PRIORITY, options.priority);
  if (listen.kind === "stream") {
    flag("SO_KEEPALIVE", so.SOL_SOCKET, so.SO_KEEPALIVE, options.keepAlive);
    flag("TCP_NODELAY", so.IPPROTO_TCP, so.TCP_NODELAY, options.noDelay);
    flag("TCP_DEFER_ACCEPT", so.IPPROTO_TCP, so.TCP_DEFER_ACCEPT, options.deferAccept);
  } else {
    flag("SO_BROADCAST", so.SOL_SOCKET, so.SO_BROADCAST, options.broadcast);
    if (family === "ipv4") flag("IP_PKTINFO", so.IPPROTO_IP, so.IP_PKTINFO, options.packetInfo);
    else flag("IPV6_RECVPKTINFO", so.IPPROTO_IPV6, so.IPV6_RECVPKTINFO, options.packetInfo);
  }
}

function setter(sys: Native, fd: number, listen: ListenAddress) {
  return (name: string, level: number, option: number, value: number | Uint8Array): void => {
    check(`setsockopt ${name}`, sys.setsockopt(fd, level, option, value), formatListenAddress(listen));
  };
}
