/** Ports for tests: free a moment ago, and different each time. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

const given = new Set<number>();

/** A port that is free for TCP and UDP on 127.0.0.1. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  const udp = createSocket("udp4");
  const free = await new Promise<boolean>((resolve) => {
    udp.once("error", () => resolve(false));
    udp.bind(port, "127.0.0.1", () => resolve(true));
  });
  udp.close();
  server.close();
  await once(server, "close");
  if (!free || given.has(port)) return await freePort();
  given.add(port);
  return port;
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

/** Sends a datagram and gives the answer; rejects after two seconds without one. */
export async function datagram(port: number, text: string): Promise<string> {
  const socket = createSocket("udp4");
  try {
    const answer = once(socket, "message", { signal: AbortSignal.timeout(2000) });
    socket.send(text, port, "127.0.0.1");
    const [data] = (await answer) as [Buffer];
    return data.toString();
  } finally {
    socket.close();
  }
}
