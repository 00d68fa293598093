/** Servers that run, on loopback, and answer as a test says. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import type { Listening } from "../../../src/broker/demand/doorman/lines.ts";

export interface Answering extends AsyncDisposable {
  readonly listening: Listening;
  /** What it was asked. */
  readonly asked: Buffer[];
}

type Reply = (bytes: Uint8Array) => void;

/** `answer` gets each datagram, and sends as many as it likes. */
export async function answerDatagrams(answer: (question: Buffer, reply: Reply) => void): Promise<Answering> {
  const socket = createSocket("udp4");
  const asked: Buffer[] = [];
  socket.on("error", () => undefined);
  socket.on("message", (question, { address, port }) => {
    asked.push(question);
    answer(question, (bytes) => socket.send(bytes, port, address));
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  const close = async (): Promise<void> => {
    socket.close();
    await once(socket, "close");
  };
  return listeningAt(port, "datagram", asked, close);
}

/** `serve` gets each connection. */
export async function answerStreams(serve: (connection: Socket) => void): Promise<Answering> {
  const asked: Buffer[] = [];
  const connections = new Set<Socket>();
  const server = createServer((connection) => {
    connections.add(connection);
    connection.on("error", () => connection.destroy());
    connection.on("data", (bytes) => asked.push(bytes));
    serve(connection);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const close = async (): Promise<void> => {
    for (const connection of connections) connection.destroy();
    server.close();
    await once(server, "close");
  };
  return listeningAt(address.port, "stream", asked, close);
}

function listeningAt(port: number, kind: Listening["kind"], asked: Buffer[], close: () => Promise<void>): Answering {
  const listening: Listening = { kind, address: { family: "ipv4", host: "127.0.0.1", port } };
  return { listening, asked, [Symbol.asyncDispose]: close };
}
