/**
 * Makes Node's sockets from descriptors that were handed over. Node never checks a descriptor's type (hazards 21 and
 * 22), so this asks the kernel first; test/client/adapters.test.ts.
 */
import cluster from "node:cluster";
import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { BerthError, check } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import type { Native } from "../native.ts";
import { AF_INET, AF_INET6, AF_UNIX } from "../net/address.ts";
import { SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SOL_SOCKET } from "../net/socket-constants.ts";
import { boundAddress, socketOption } from "../net/socket-queries.ts";
import { SOCK_DGRAM, SOCK_STREAM } from "../net/transport.ts";

/** A backlog that leaves only the kernel's limit, net.core.somaxconn. */
const LARGE_BACKLOG = 4096;

/** A server that listens on a duplicate of `handle`, a listening stream socket. Throws DESCRIPTOR_MISMATCH. */
export function netServer(handle: FdHandle, name: string, sys: Native, backlog: number = LARGE_BACKLOG): Server {
  const type = option(handle, SO_TYPE, name, sys);
  if (type !== SOCK_STREAM || option(handle, SO_ACCEPTCONN, name, sys) !== 1) {
    throw mismatch(
      name,
      "a listening stream socket",
      type === SOCK_DGRAM ? "use dgram() for a datagram socket" : undefined,
    );
  }
  const server = createServer();
  listenOn(server, handle, name, sys, backlog);
  return server;
}

/** A server that was closed accepts again, on a duplicate of the socket that it had. */
export function serveAgain(server: Server, handle: FdHandle, sys: Native): void {
  listenOn(server, handle, "its socket", sys, LARGE_BACKLOG);
}

function listenOn(server: Server, handle: FdHandle, name: string, sys: Native, backlog: number): void {
  listenHere(server, handle.dup().steal());
  // Node has just called listen(2) with its own backlog of 511, on a socket that everybody shares.
  check("listen", sys.listen(handle.fd, backlog), name);
}

/**
 * Listens in this process. A worker of node:cluster would ask the primary to listen, which has another descriptor of
 * that number, or none. `exclusive` does not help: Node ignores it for a descriptor. It asks isPrimary during the call.
 */
function listenHere(server: Server, fd: number): void {
  const { isPrimary } = cluster;
  Object.assign(cluster, { isPrimary: true });
  try {
    server.listen({ fd });
  } finally {
    Object.assign(cluster, { isPrimary });
  }
}

/** A bound socket on a duplicate of `handle`, a UDP socket of either family. Throws DESCRIPTOR_MISMATCH. */
export function dgramSocket(handle: FdHandle, name: string, sys: Native): Socket {
  const domain = option(handle, SO_DOMAIN, name, sys);
  if (option(handle, SO_TYPE, name, sys) !== SOCK_DGRAM) {
    throw mismatch(name, "a datagram socket", "use net() for a stream socket");
  }
  if (domain !== AF_INET && domain !== AF_INET6) {
    throw mismatch(
      name,
      "a UDP socket",
      domain === AF_UNIX ? "Node has no UNIX datagram sockets; use fd() and a library that has" : undefined,
    );
  }
  // Node accepts an unbound socket too, and reports port 0.
  const address = boundAddress(handle.fd, sys, name);
  if (address === undefined || address.family === "unix" || address.port === 0) {
    throw mismatch(name, "bound to a port", undefined);
  }
  const socket = createSocket(domain === AF_INET ? "udp4" : "udp6");
  socket.bind({ fd: handle.dup().steal(), exclusive: true });
  return socket;
}

function option(handle: FdHandle, number: number, name: string, sys: Native): number {
  const value = socketOption(handle.fd, SOL_SOCKET, number, sys);
  if (value < 0) throw mismatch(name, "a socket", undefined);
  return value;
}

function mismatch(name: string, wanted: string, remedy: string | undefined): BerthError {
  return new BerthError(
    "DESCRIPTOR_MISMATCH",
    `descriptor ${name} is not ${wanted}${remedy === undefined ? "" : `; ${remedy}`}`,
  );
}
