/** REST on connections that have been let in, with the paths and the JSON that grpc-gateway gives Agones. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Call, calls, gameServerOf } from "../calls.ts";
import { Refusal, refusalOf } from "../refusal.ts";
import type { Session } from "../session.ts";
import { toJson } from "../wire/sink.ts";
import { fromJson } from "../wire/source.ts";
import { LONGEST_REQUEST, MOST_UNREAD } from "./limits.ts";

const HEADERS_MS = 5_000;
const REQUEST_MS = 15_000;

interface Route {
  readonly call: Call;
  readonly pattern: RegExp;
}

/** `{name}` is one part of the path, up to a colon. */
const routes: readonly Route[] = calls.map((call) => ({
  call,
  pattern: new RegExp(
    `^${call.path.replace(/\{(\w+)\}/g, call.path.includes(":") ? "(?<$1>[^/:]+)" : "(?<$1>[^/]+)")}$`,
  ),
}));

export class RestServer {
  readonly #server: Server;
  readonly #servers = new WeakMap<Socket, Session>();

  constructor() {
    this.#server = createServer({ headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, maxHeaderSize: 8192 });
    this.#server.on("request", (request, response) => {
      const server = this.#servers.get(request.socket);
      if (server === undefined) return response.destroy();
      answer(request, response, server).catch((error: unknown) => {
        // The client has gone, maybe in the middle of its request.
        if (request.errored || response.destroyed) response.destroy();
        else refuse(response, refusalOf(error));
      });
    });
    this.#server.on("clientError", (_, socket) => socket.destroy());
  }

  serve(socket: Socket, server: Session): void {
    this.#servers.set(socket, server);
    this.#server.emit("connection", socket);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, server: Session): Promise<void> {
  const [path = ""] = (request.url ?? "").split("?");
  const found = routes.flatMap(({ call, pattern }) => {
    const match = pattern.exec(path);
    return match === null ? [] : [{ call, parameters: decoded(match.groups ?? {}) }];
  });
  if (found.length === 0) throw new Refusal("NOT_FOUND", "the SDK of berthd has no such path");
  const meant = found.find(({ call }) => call.method === request.method);
  if (meant === undefined) throw new Refusal("UNIMPLEMENTED", "this path has other methods");
  const text = await textOf(request);
  const result = await meant.call.run(server, fromJson(meant.call.method === "GET" ? "" : text, meant.parameters));
  if (meant.call.kind === "watch") return watch(response, server);
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(toJson(result)));
}

function decoded(groups: Readonly<Record<string, string>>): Record<string, string> {
  try {
    return Object.fromEntries(Object.entries(groups).map(([name, text]) => [name, decodeURIComponent(text)]));
  } catch {
    throw new Refusal("INVALID_ARGUMENT", "the path has a % that begins no character");
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  // A request that is too long gets an answer, so its stream is not destroyed.
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    if (!Buffer.isBuffer(piece)) continue;
    length += piece.length;
    if (length > LONGEST_REQUEST) throw new Refusal("INVALID_ARGUMENT", `a body has at most ${LONGEST_REQUEST} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

/** The last line of each server: all its watches get the same. */
const lines = new WeakMap<Session, { readonly version: number; readonly line: string }>();

function lineOf(server: Session): string {
  const { version } = server.gameServer;
  const known = lines.get(server);
  if (known?.version === version) return known.line;
  const line = `${JSON.stringify({ result: toJson(gameServerOf(server)) })}\n`;
  lines.set(server, { version, line });
  return line;
}

/** A line for each state. */
function watch(response: ServerResponse, server: Session): void {
  const tell = (): void => {
    if (response.writableLength > MOST_UNREAD) response.destroy();
    else response.write(lineOf(server));
  };
  const forget = server.watch(tell);
  response.once("close", forget);
  response.setHeader("content-type", "application/json");
  tell();
}

function refuse(response: ServerResponse, refusal: Refusal): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(refusal.http, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify({ code: refusal.grpc, message: refusal.message, details: [] }));
}
