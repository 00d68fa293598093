/**
 * Sets the options of a `[sockets.NAME]` section with setsockopt(2), in the order the kernel needs. It binds nothing.
 */
import { constants } from "node:os";
import { type KernelOption, listenerReuse, type SocketOptions, settingsFor } from "../../config/keys/socket-options.ts";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { familyNumber, formatListenAddress, isUdp, type ListenAddress, pathOf } from "../../net/address.ts";
import { O_NONBLOCK } from "../../net/socket-constants.ts";
import { typeNumber } from "../../net/transport.ts";

const { EPERM } = constants.errno;

/** A new socket for an address, with all its options, not bound yet. Throws {@link SysError}. */
export function openSocket(listen: ListenAddress, options: SocketOptions, sys: Native): FdHandle {
  const fd = check(
    "socket",
    sys.socket(familyNumber(listen.address), typeNumber(listen.kind), 0),
    formatListenAddress(listen),
  );
  // What strangers have sent to a UNIX socket is closed with it, and that could wait. An abstract name must be free at
  // once, for it is bound again.
  const mayWait = pathOf(listen.address) !== undefined;
  const handle = mayWait ? FdHandle.adoptForeign(fd, sys) : FdHandle.adopt(fd, sys);
  try {
    makeBlocking(fd, sys);
    applyBindOptions(sys, fd, listen, options);
    applyOptions(sys, fd, listen, options);
    // Later this takes the socket's lock, which a tenant can hold (test/attacks/held-lock.test.ts).
    if (isUdp(listen)) sys.lastReceived(fd, new Int32Array(4));
    return handle;
  } catch (error) {
    handle.close();
    throw error;
  }
}

/**
 * Throws {@link SysError} if the kernel refuses options that a bound socket can get: of a unit's also those of its
 * bind. Without a descriptor to try it with, it does not know.
 */
export function checkOptions(listen: ListenAddress, options: SocketOptions, place: "unit" | "held", sys: Native): void {
  const fd = sys.socket(familyNumber(listen.address), typeNumber(listen.kind), 0);
  if (fd < 0) return;
  using fresh = FdHandle.adopt(fd, sys);
  if (place === "unit") applyBindOptions(sys, fresh.fd, listen, options, "bound");
  applyOptions(sys, fresh.fd, listen, options);
}

/** Makes accept(2) and recv(2) block, as servers expect from systemd (NonBlocking=no, systemd.service(5)). */
export function makeBlocking(fd: number, sys: Native): void {
  const flags = sys.getfl(fd);
  if (flags >= 0 && (flags & O_NONBLOCK) !== 0) sys.setfl(fd, flags & ~O_NONBLOCK);
}

/** Sets the options that must be set before bind(2). On a bound socket, sets those that can still change. */
export function applyBindOptions(
  sys: Native,
  fd: number,
  listen: ListenAddress,
  options: SocketOptions,
  state: "unbound" | "bound" = "unbound",
): void {
  const isTcp = listen.kind === "stream" && listen.address.family !== "unix";
  // Not on UDP: there it would let other processes take the port.
  if (isTcp) setOption(fd, listenerReuse, 1, listen, sys);
  if (state === "unbound") applyAll("unbound", sys, fd, listen, options);
  applyAll("bind", sys, fd, listen, options);
}

/** Sets the options that can change at any time. */
export function applyOptions(sys: Native, fd: number, listen: ListenAddress, options: SocketOptions): void {
  applyAll("any", sys, fd, listen, options);
}

function applyAll(
  when: "unbound" | "bind" | "any",
  sys: Native,
  fd: number,
  listen: ListenAddress,
  options: SocketOptions,
): void {
  for (const { kernel, value } of settingsFor(when, listen, options)) setOption(fd, kernel, value, listen, sys);
}

function setOption(
  fd: number,
  { name, level, option, force }: KernelOption,
  value: number | string,
  listen: ListenAddress,
  sys: Native,
): void {
  const raw = typeof value === "string" ? Buffer.from(`${value}\0`) : value;
  // Above net.core.[rw]mem_max only CAP_NET_ADMIN helps; without it the kernel reduces the size (socket(7)).
  if (force !== undefined && sys.setsockopt(fd, level, force, raw) !== -EPERM) return;
  check(`setsockopt ${name}`, sys.setsockopt(fd, level, option, raw), formatListenAddress(listen));
}
