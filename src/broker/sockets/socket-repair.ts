/**
 * Repairs what a tenant changed on a shared open file description, as far as system calls can (hazard 16;
 * test/broker/sockets/held-socket.test.ts). It never opens or closes a socket: that is held-socket.ts.
 */
import { constants } from "node:os";
import { type KernelOption, offAtLeaseEnd, type SocketOptions } from "../../config/keys/socket-options.ts";
import type { Native } from "../../native.ts";
import { type Address, formatAddress, type ListenAddress } from "../../net/address.ts";
import { POLLHUP, POLLRDHUP, SO_ACCEPTCONN, SO_DETACH_FILTER, SOL_SOCKET } from "../../net/socket-constants.ts";
import { boundAddress, isConnected, socketOption } from "../../net/socket-queries.ts";

const { EPERM } = constants.errno;

/** A socket to repair: what it is and where it was bound. */
interface Repaired {
  readonly fd: number;
  readonly listen: ListenAddress;
  readonly options: SocketOptions;
  readonly bound: Address;
}

/** One sentence for each repair, or "beyond repair" when only a new socket helps. */
interface Repair {
  readonly sentences: string[];
  readonly isBeyondRepair: boolean;
}

/** Makes it accept or receive again. */
export function reviveSocket(socket: Repaired, sys: Native): Repair {
  return socket.listen.kind === "datagram" ? reviveDatagram(socket, sys) : reviveListener(socket, sys);
}

/** Switches off options that let another process bind the same address. Returns one sentence for each option. */
export function closeSharedAddress({ fd, listen, options }: Omit<Repaired, "bound">, sys: Native): string[] {
  return offAtLeaseEnd(listen, options).flatMap((kernel) => switchOff(fd, kernel, sys));
}

function reviveListener(socket: Repaired, sys: Native): Repair {
  const { fd, options } = socket;
  const hasStopped = socketOption(fd, SOL_SOCKET, SO_ACCEPTCONN, sys) !== 1;
  // Always listen again: after a tenant's listen(fd, 0) nothing shows but a backlog of 0. A TCP listener that was shut
  // down keeps its address, and listens again.
  const isBeyondRepair = sys.listen(fd, options.backlog) < 0 || isSpoilt(socket, sys);
  return {
    sentences: hasStopped && !isBeyondRepair ? ["was shut down by the server; it listens again"] : [],
    isBeyondRepair,
  };
}

function reviveDatagram(socket: Repaired, sys: Native): Repair {
  const { fd } = socket;
  // AF_UNSPEC dissolves the association with one peer (connect(2)).
  const isFreed = isConnected(fd, sys) && sys.connect(fd, new Uint8Array(16)) >= 0;
  return {
    sentences: isFreed ? ["was connected to one peer by the server; it is disconnected again"] : [],
    isBeyondRepair: isSpoilt(socket, sys),
  };
}

/** Whether no system call can repair it: it is shut down, bound elsewhere, or has a locked filter (socket(7)). */
function isSpoilt({ fd, listen, bound }: Repaired, sys: Native): boolean {
  const events = sys.pollNow(fd, POLLRDHUP);
  if (events < 0 || (events & (POLLRDHUP | POLLHUP)) !== 0) return true;
  if (sys.setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, 0) === -EPERM) return true;
  // A UNIX socket cannot be bound twice.
  const now = listen.address.family === "unix" ? listen.address : boundAddress(fd, sys);
  return now === undefined || formatAddress(now) !== formatAddress(bound);
}

function switchOff(fd: number, { name, level, option }: KernelOption, sys: Native): string[] {
  if (socketOption(fd, level, option, sys) !== 1) return [];
  sys.setsockopt(fd, level, option, 0);
  return [`had ${name} set by the server; it is switched off again`];
}
