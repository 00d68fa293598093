/** Ports for tests: free a moment ago, and different each time. */
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * Below those that the kernel gives out by itself (ip(7), ip_local_port_range): of these any connection of another
 * process may get one between its being found free here and its being bound. Test files that run at the same time have
 * different ports: each worker its own half of them, and each file in it a block to begin with.
 */
const [FIRST, BLOCK, BLOCKS] = [17_408, 32, 125];
const HALF = FIRST + (Number(process.env["VITEST_POOL_ID"] ?? 0) % 2) * BLOCK * BLOCKS;
let asked = 0;

/** A port that is free for TCP and UDP on 127.0.0.1. */
export async function freePort(): Promise<number> {
  while (asked < BLOCK * BLOCKS) {
    const port = HALF + (((process.pid % BLOCKS) * BLOCK + asked++) % (BLOCK * BLOCKS));
    if (await isFree(port)) return port;
  }
  throw new Error("no port is free");
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const udp = createSocket("udp4");
  const bound = (one: Server | Datagrams): Promise<boolean> =>
    new Promise((resolve) => {
      one.once("error", () => resolve(false));
      one.once("listening", () => resolve(true));
    });
  server.listen(port, "127.0.0.1");
  udp.bind(port, "127.0.0.1");
  const free = await Promise.all([bound(server), bound(udp)]);
  udp.close();
  await new Promise((resolve) => server.close(resolve));
  return free.every((one) => one);
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

/** Sends a datagram and gives the answer; rejects after ten seconds without one. */
export async function datagram(port: number, text: string): Promise<string> {
  const socket = createSocket("udp4");
  try {
    const answer = once(socket, "message", { signal: AbortSignal.timeout(10_000) });
    socket.send(text, port, "127.0.0.1");
    const [data] = (await answer) as [Buffer];
    return data.toString();
  } finally {
    socket.close();
  }
}
