/** HTTP for matchmakers: allocates berths. It knows no other call, and needs no privilege but etcd's certificate. */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Etcd } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { type Allocated, allocate } from "../fleet/allocation/allocate.ts";
import { fromJson } from "../model/fields.ts";
import type { Keys } from "../model/keys.ts";
import { allocationIn, allocationOf, type Selector, selectorsOf, serverOf, statusOf } from "./agones.ts";

export interface ServeOptions {
  readonly etcd: Etcd;
  readonly keys: Keys;
  /** What a caller must show. Undefined: whoever reaches the server may allocate. */
  readonly token: string | undefined;
  /** A line for the log. */
  readonly say: (sentence: string) => void;
}

const MOST_CONNECTIONS = 256;
/** Bytes of one request. */
const LONGEST_REQUEST = 64 * 1024;
const HEADERS_MS = 5_000;
const REQUEST_MS = 15_000;

/** Why a request gets no answer of the fleet. */
class Refused extends Error {
  readonly http: number;

  constructor(http: number, message: string) {
    super(message);
    this.http = http;
  }
}

export function allocationServer(options: ServeOptions): Server {
  const server = createServer({ headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, maxHeaderSize: 8192 });
  server.maxConnections = MOST_CONNECTIONS;
  server.on("clientError", (_, socket) => socket.destroy());
  server.on("request", (request, response) => {
    answer(request, response, options).catch((error: unknown) => refuse(request, response, error, options.say));
  });
  return server;
}

const KUBERNETES = /^\/apis\/allocation\.agones\.dev\/v1\/namespaces\/([A-Za-z0-9.-]{1,63})\/gameserverallocations$/;

async function answer(request: IncomingMessage, response: ServerResponse, options: ServeOptions): Promise<void> {
  const [path = ""] = (request.url ?? "").split("?");
  if (request.method === "GET" && path === "/healthz") {
    await options.etcd.read({ key: options.keys.prefix });
    return void response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
  }
  const namespace = KUBERNETES.exec(path)?.[1];
  if (namespace === undefined && path !== "/gameserverallocation") throw new Refused(404, "there is no such path");
  if (request.method !== "POST") throw new Refused(405, "POST a request for a game server");
  authorize(request, options.token);
  const text = await textOf(request);
  if (namespace === undefined) {
    const selectors = fromJson(text, selectorsOf, "AllocationRequest");
    return reply(response, 200, serverOf(await first(selectors, options)));
  }
  const { selectors, spec } = fromJson(text, allocationIn, "GameServerAllocation");
  const became = await first(selectors, options).catch((error: unknown) => {
    if (error instanceof Fault && error.code === "NONE_READY") return "UnAllocated" as const;
    if (error instanceof Fault && error.code === "CONTENDED") return "Contention" as const;
    throw error;
  });
  reply(response, 201, allocationOf(spec, namespace, became, new Date().toISOString()));
}

/** A page in a browser can send neither this type of content to another site nor leave out its origin. */
function authorize({ headers }: IncomingMessage, token: string | undefined): void {
  if (token !== undefined) {
    const shown = /^Bearer (\S+)$/.exec(headers.authorization ?? "")?.[1] ?? "";
    if (!timingSafeEqual(hash(shown), hash(token))) throw new Refused(401, "the token is missing or wrong");
  }
  if (headers.origin !== undefined) throw new Refused(403, "pages of a browser may not allocate");
  if (!/^application\/json\b/.test(headers["content-type"] ?? "")) throw new Refused(415, "the body must be JSON");
}

function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The first selector for which there is a berth. Throws the fault of the last one. */
async function first(selectors: readonly Selector[], { etcd, keys }: ServeOptions): Promise<Allocated> {
  let none: unknown;
  for (const { set, ...wish } of selectors) {
    try {
      return await allocate(etcd, keys, set, wish);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "NONE_READY") throw error;
      none = error;
    }
  }
  throw none;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  // A request that is too long gets an answer, so its stream is not destroyed.
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    if (!Buffer.isBuffer(piece)) continue;
    length += piece.length;
    if (length > LONGEST_REQUEST) throw new Refused(413, `a body has at most ${LONGEST_REQUEST} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

function reply(response: ServerResponse, code: number, value: object): void {
  response.writeHead(code, { "content-type": "application/json" }).end(`${JSON.stringify(value)}\n`);
}

/** Errors have the form that grpc-gateway gives them. A defect of ours ends the program. */
function refuse(request: IncomingMessage, response: ServerResponse, error: unknown, say: ServeOptions["say"]): void {
  if (!(error instanceof Fault || error instanceof Refused)) {
    // The client has gone, maybe in the middle of its request.
    if (request.errored || response.destroyed) return void response.destroy();
    throw error;
  }
  const { http, grpc } = error instanceof Fault ? statusOf(error) : { http: error.http, grpc: GRPC[error.http] ?? 3 };
  if (http === 503) say(error.message);
  response.setHeader("connection", "close");
  reply(response, http, { code: grpc, message: error.message, details: [] });
}

const GRPC: Readonly<Record<number, number>> = { 401: 16, 403: 7, 404: 5, 405: 12 };
