/**
 * Shows a store to the other agents: HTTPS, read only, and only for clients with a certificate of the fleet's
 * authority. It lists nothing: a client knows the name of an index, and the index has the names of chunks; or it knows
 * the digest of an image.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { TlsFiles } from "../etcd/channel.ts";
import { type ImageName, imageAt } from "./image-path.ts";
import { isArchiveName, isChunkName } from "./names.ts";
import { networkOf } from "./network.ts";
import type { Archive, ChunkStore } from "./store.ts";

const MOST_CONNECTIONS = 128;
/** Of one address, or one /64 of IPv6. An agent opens eight for each berth that it fetches, at most four. */
const MOST_OF_ONE = 40;
const HANDSHAKE_MS = 10_000;
const REQUEST_MS = 15_000;
/** A client that takes nothing for so long is cut off. */
const IDLE_MS = 30_000;

/** The images that other agents may ask for. */
export interface ImageShelf {
  /** `making`: its archive is not ready yet. `failed`: it cannot be made now. Undefined: there is no such image. */
  archiveOf(image: ImageName): Promise<Archive | "making" | "failed" | undefined>;
}

/** `say`: for people. `images` absent: other agents get no images. */
export function storeServer(
  store: ChunkStore,
  { ca, cert, key }: Required<TlsFiles>,
  say: (sentence: string) => void,
  images?: ImageShelf,
): Server {
  const server = createServer({
    ...{ ca, cert, key, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" },
    ...{ handshakeTimeout: HANDSHAKE_MS, headersTimeout: REQUEST_MS, requestTimeout: REQUEST_MS },
    ...{ maxHeaderSize: 4096, keepAliveTimeout: IDLE_MS },
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.setTimeout(IDLE_MS);
  limitEach(server);
  const answering = new WeakMap<Socket, ServerResponse>();
  // Without a listener an accept(2) that fails, as without memory, would end the agent. The next one may succeed.
  server.on("error", ({ message }) => say(`the store has no connection: ${message}`));
  server.on("tlsClientError", (_, socket) => socket.destroy());
  server.on("clientError", (_, socket) => socket.destroy());
  server.on("request", (request, response) => {
    const { socket } = request;
    // As of the server for matchmakers: Node would read ahead thousands of requests.
    if (answering.get(socket)?.writableEnded === false) return void socket.destroy();
    answering.set(socket, response);
    answer(store, images, request, response).catch(() => socket.destroy());
  });
  return server;
}

function limitEach(server: Server): void {
  const counts = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
    const network = networkOf(socket.remoteAddress ?? "");
    const count = counts.get(network) ?? 0;
    if (count >= MOST_OF_ONE) return void socket.destroy();
    counts.set(network, count + 1);
    socket.once("close", () => {
      const left = (counts.get(network) ?? 1) - 1;
      if (left > 0) counts.set(network, left);
      else counts.delete(network);
    });
  });
}

async function answer(
  store: ChunkStore,
  images: ImageShelf | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.resume();
  const refuse = (status: number): void => void response.writeHead(status, { connection: "close" }).end();
  if (request.method !== "GET") return refuse(405);
  const image = imageAt(request.url ?? "");
  if (image !== undefined) return await answerImage(images, image, response);
  const path = pathOf(store, request.url ?? "");
  if (path === undefined) return refuse(404);
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch {
    return refuse(404);
  }
  try {
    const { size } = await file.stat();
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": size });
    // With the last byte the answer has ended. Another read, to find that out, may wait for a thread; a client that
    // asks for its next file meanwhile would be cut off.
    await pipeline(file.createReadStream({ autoClose: false, end: Math.max(0, size - 1) }), response);
  } finally {
    // Also where the client has gone before the first byte: then nobody else closes it.
    await file.close();
  }
}

async function answerImage(images: ImageShelf | undefined, image: ImageName, response: ServerResponse): Promise<void> {
  const found = await images?.archiveOf(image);
  const reply = (status: number, body: string): void =>
    void response.writeHead(status, { "content-length": Buffer.byteLength(body) }).end(body);
  if (found === undefined) reply(404, "");
  else if (found === "making") reply(202, "");
  else if (found === "failed") reply(503, "");
  else reply(200, JSON.stringify(found));
}

/** Only the two kinds of names, so no other file can be reached. */
function pathOf(store: ChunkStore, url: string): string | undefined {
  const [, room, name = "", ...others] = url.split("/");
  if (others.length > 0) return undefined;
  if (room === "chunks" && isChunkName(name)) return store.chunkPath(name);
  if (room === "indexes" && isArchiveName(name)) return store.indexPath(name);
  return undefined;
}
