/** A sleeping server on a port of its own, by the codecs alone: what answers query tools in tests. */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import {
  AnswerBudget,
  Challenges,
  type DatagramName,
  datagramProtocols,
  type Kind,
  minecraft,
  networkOf,
  type SleepingServer,
} from "../../../packages/doorman/src/index.ts";

export const sleeper: SleepingServer = {
  name: "Frozen Lake",
  map: "lake_one",
  slots: 24,
  version: "1.2.3",
  port: 4711,
};

export interface Sleeping extends AsyncDisposable {
  readonly port: number;
  /** What has come, in this order. */
  readonly kinds: Kind[];
}

export async function sleepByDatagrams(name: DatagramName, server = sleeper): Promise<Sleeping> {
  const protocol = datagramProtocols[name];
  const challenges = new Challenges(randomBytes(16));
  const budget = new AnswerBudget();
  const kinds: Kind[] = [];
  const socket = createSocket("udp4");
  socket.on("message", (packet, { address, port }) => {
    const now = performance.now();
    kinds.push(protocol.classify(packet));
    const answer = protocol.answer(packet, server, challenges.for(`${address} ${port}`, now));
    if (answer !== undefined && budget.allows(networkOf(address), packet.length, answer, now)) {
      socket.send(answer.bytes, port, address);
    }
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const close = async (): Promise<void> => {
    socket.close();
    await once(socket, "close");
  };
  return { port: socket.address().port, kinds, [Symbol.asyncDispose]: close };
}

export async function sleepByStreams(refusal: string, server = sleeper): Promise<Sleeping> {
  const kinds: Kind[] = [];
  const listener = createServer((connection) => {
    const conversation = minecraft.converse(server, refusal);
    let isKnown = false;
    connection.on("error", () => connection.destroy());
    connection.on("data", (bytes) => {
      const { kind, reply, ends } = conversation.feed(bytes);
      if (kind !== undefined && !isKnown) kinds.push(kind);
      isKnown ||= kind !== undefined;
      connection.write(reply);
      if (ends) connection.end();
    });
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const close = async (): Promise<void> => {
    listener.close();
    await once(listener, "close");
  };
  return { port: address.port, kinds, [Symbol.asyncDispose]: close };
}
