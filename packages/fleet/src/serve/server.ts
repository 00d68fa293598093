/** HTTP for matchmakers: allocates berths. It knows no other call, and needs no privilege but etcd's certificate. */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Etcd } from "../etcd/etcd.ts";
import { Fault } from "../fault.ts";
import { type Allocated, allocate } from "../fleet/allocation/allocate.ts";
import { fromJson } from "../model/fields.ts";
import type { Keys } from "../model/keys.ts";
import { allocationIn, allocationOf, type Selector, selectorsOf, serverOf, statusOf } from "./agones.ts";
import { Health } from "./health.ts";
import { Turns } from "./turns.ts";

export interface ServeOptions {
  readonly etcd: Etcd;
  readonly keys: Keys;
  /** What a caller must show. Undefined: every program that can connect may allocate. */
  readonly token: string | undefined;
  /** A line for the log. */
  readonly say: (sentence: string) => void;
}

const MOST_CONNECTIONS = 256;
/** Bytes of one request. */
const LONGEST_REQUEST = 64 * 1024;
/** Allocations at the same time, each of which reads the fleet, and those that wait. */
const MOST_ALLOCATIONS = 32;
const MOST_WAITING = MOST_CONNECTIONS;
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

/** What all requests share. */
interface Desk extends ServeOptions {
  readonly health: Health;
  readonly turns: Turns;
}

export function allocationServer(options: ServeOptions): Server {
  const { etcd, keys, say } = options;
  const health = new Health(() => etcd.read({ key: keys.prefix }));
  const desk = { ...options, health, turns: new Turns(MOST_ALLOCATIONS, MOST_WAITING) };
  const answering = new WeakMap<Socket, ServerResponse>();
  const server = createServer({ headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, maxHeaderSize: 8192 });
  server.maxConnections = MOST_CONNECTIONS;
  // Without a listener an accept(2) that fails, as without memory, would end the program. The next one may succeed.
  server.on("error", ({ message }) => say(`no connection: ${message}`));
  server.on("clientError", (_, socket) => socket.destroy());
  server.on("request", (request, response) => {
    const { socket } = request;
    // A client waits for its answer. Node would read ahead thousands of requests
    // (test/fleet/serve/serve-limits.test.ts).
    if (answering.get(socket)?.writableEnded === false) return void socket.destroy();
    answering.set(socket, response);
    answer(request, response, desk).catch((error: unknown) => refuse(request, response, error, say));
  });
  return server;
}

const NO_ETCD = "etcd does not answer";
const KUBERNETES = /^\/apis\/allocation\.agones\.dev\/v1\/namespaces\/([A-Za-z0-9.-]{1,63})\/gameserverallocations$/;

async function answer(request: IncomingMessage, response: ServerResponse, desk: Desk): Promise<void> {
  const [path = ""] = (request.url ?? "").split("?");
  if (request.method === "GET" && path === "/healthz") {
    if (!(await desk.health.isWell())) throw new Refused(503, NO_ETCD);
    return void response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
  }
  const namespace = KUBERNETES.exec(path)?.[1];
  if (namespace === undefined && path !== "/gameserverallocation") throw new Refused(404, "there is no such path");
  if (request.method !== "POST") throw new Refused(405, "POST a request for a game server");
  authorize(request, desk.token);
  const text = await textOf(request);
  if (namespace === undefined) {
    const selectors = fromJson(text, selectorsOf, "AllocationRequest");
    return reply(response, 200, serverOf(await first(selectors, response, desk)));
  }
  const { selectors, spec } = fromJson(text, allocationIn, "GameServerAllocation");
  const became = await first(selectors, response, desk).catch((error: unknown) => {
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

/** As {@link firstOf}, when it is its turn. A caller that has gone away meanwhile gets no berth. */
async function first(selectors: readonly Selector[], caller: ServerResponse, desk: Desk): Promise<Allocated> {
  const found = await desk.turns.take(async () => {
    if (caller.destroyed) throw new Refused(503, "the caller has gone");
    return await firstOf(selectors, desk);
  });
  if (found === undefined) throw new Refused(503, "too many allocations at the same time; try again");
  return found.result;
}

/** The first selector for which there is a berth. Throws the fault of the last one. */
async function firstOf(selectors: readonly Selector[], { etcd, keys }: ServeOptions): Promise<Allocated> {
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
  // What etcd says is for the log alone, and what anybody may send adds no line to it.
  const isEtcd = http === 503 && error instanceof Fault;
  if (isEtcd) say(error.message);
  response.setHeader("connection", "close");
  reply(response, http, { code: grpc, message: isEtcd ? NO_ETCD : error.message, details: [] });
}

const GRPC: Readonly<Record<number, number>> = { 401: 16, 403: 7, 404: 5, 405: 12, 503: 14 };
