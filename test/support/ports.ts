/** Ports for tests: free a moment ago, and different each time. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { constants } from "node:os";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { AF_INET6, encodeSockaddr } from "../../src/net/address.ts";
import { SOCK_DGRAM, SOCK_STREAM } from "../../src/net/transport.ts";

const { EADDRINUSE } = constants.errno;

/**
 * Below those that the kernel gives out by itself (ip(7), ip_local_port_range): of these any connection of another
 * process may get one between its being found free here and its being bound. Test files that run at the same time have
 * different ports: each worker its own half of them, and each file in it a block to begin with.
 */
const [FIRST, BLOCK, BLOCKS] = [17_408, 32, 125];
const HALF = FIRST + (Number(process.env["VITEST_POOL_ID"] ?? 0) % 2) * BLOCK * BLOCKS;
let asked = 0;

/** A port at which nothing is bound, with TCP or UDP, at any address of this machine. */
export function freePort(): Promise<number> {
  while (asked < BLOCK * BLOCKS) {
    const port = HALF + (((process.pid % BLOCKS) * BLOCK + asked++) % (BLOCK * BLOCKS));
    if (isFree(port, SOCK_STREAM) && isFree(port, SOCK_DGRAM)) return Promise.resolve(port);
  }
  return Promise.reject(new Error("no port is free"));
}

/**
 * Without SO_REUSEADDR, which Node's servers set: a connection of an earlier test in TIME_WAIT does not prevent a bind
 * with it, but one without it (tcp(7)).
 */
function isFree(port: number, type: number): boolean {
  using socket = FdHandle.adopt(check("socket", native.socket(AF_INET6, type, 0)));
  const everywhere = encodeSockaddr({ family: "ipv6", host: "::", port });
  const bound = native.bind(socket.fd, everywhere);
  if (bound < 0 && bound !== -EADDRINUSE) check("bind", bound);
  return bound === 0;
}

/** Connects, and gives what the server says first; rejects when it refuses. */
export async function greeting(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const [data] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return data.toString();
}

/** An open connection. */
export async function connected(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

/** Sends a datagram and gives the answer; rejects after 30 s without one. */
export async function datagram(port: number, text: string): Promise<string> {
  const socket = createSocket("udp4");
  try {
    const answer = once(socket, "message", { signal: AbortSignal.timeout(30_000) });
    socket.send(text, port, "127.0.0.1");
    const [data] = (await answer) as [Buffer];
    return data.toString();
  } finally {
    socket.close();
  }
}
