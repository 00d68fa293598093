/**
 * The HTTP server: who may ask, and within which bounds. `routes` make the answers. It allows only GET and
 * HEAD, and reads no body of a request.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import { type Answer, refusal, send } from "./answer.ts";
import { isOwnHost } from "./host-check.ts";
import type { Limits } from "./limits.ts";
import { Tally } from "./tally.ts";
import { knowsToken } from "./token.ts";

export interface Guard {
  readonly hostNames: readonly string[];
  /** Undefined: everybody who reaches the server may read. */
  readonly token: string | undefined;
  readonly limits: Limits;
}

export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | undefined;
}

export interface Routes {
  /** Whether a path needs no token: a public page, its files, /healthz. */
  isPublic(path: string): boolean;
  answer(path: string, query: URLSearchParams): Promise<Answer>;
  /** Takes over the response for a stream, and returns true; false where there is none at this path. */
  stream(path: string, response: ServerResponse, address: string): boolean;
}

/** A server that does not listen yet. */
export function httpServer(guard: Guard, routes: Routes, tls: TlsMaterial | undefined): Server {
  const { limits } = guard;
  const options = {
    headersTimeout: limits.headersMs,
    requestTimeout: limits.headersMs,
    keepAliveTimeout: limits.headersMs,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 8 * 1024,
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    handle(request, response, guard, routes).catch((error: unknown) => {
      console.error("berth-web: %s %s failed:", request.method, request.url?.slice(0, 200), error);
      if (response.headersSent) response.destroy();
      else send(request, response, refusal(500, "fault", "this server has made a mistake; its log says which"));
    });
  };
  const server =
    tls === undefined
      ? createServer(options, listener)
      : createTlsServer(
          {
            ...options,
            ...tls,
            requestCert: tls.ca !== undefined,
            rejectUnauthorized: true,
            minVersion: "TLSv1.2",
            handshakeTimeout: limits.idleMs,
          },
          listener,
        );
  // Node sets this one again after each answer of a connection. Streams lift it for themselves.
  server.timeout = limits.idleMs;
  server.maxHeadersCount = 64;
  server.maxRequestsPerSocket = 1_000;
  server.maxConnections = limits.connections;
  const tally = new Tally({ perAddress: limits.connectionsPerAddress, total: limits.connections });
  server.on("connection", (socket: Socket) => {
    const giveBack = tally.take(socket.remoteAddress ?? "");
    if (giveBack === undefined) return socket.destroy();
    socket.once("close", giveBack);
  });
  // With TLS on the encrypted socket, not on the raw one below it: a stream can lift only the timer of its own socket.
  server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
    socket.setTimeout(limits.idleMs, () => socket.destroy());
  });
  server.on("clientError", (_error, socket) => socket.destroy());
  return server;
}

async function handle(request: IncomingMessage, response: ServerResponse, guard: Guard, routes: Routes): Promise<void> {
  const address = request.socket.remoteAddress ?? "";
  const refused = refusedFor(request, guard, address === "");
  if (refused !== undefined) return send(request, response, refused);
  const url = targetOf(request.url ?? "");
  if (url === undefined) return send(request, response, refusal(400, "bad-request", "this is not an address"));
  const { path, query } = url;
  if (guard.token !== undefined && !routes.isPublic(path) && !knowsToken(request.headers.authorization, guard.token)) {
    const ask = { "WWW-Authenticate": 'Basic realm="berthd: the token is the password", charset="UTF-8"' };
    return send(request, response, refusal(401, "denied", "this server asks for its token", ask));
  }
  if (request.method === "GET" && routes.stream(path, response, address)) return;
  const late = setTimeout(() => request.socket.destroy(), guard.limits.answerMs);
  response.once("close", () => clearTimeout(late));
  send(request, response, await routes.answer(path, query));
}

function refusedFor(request: IncomingMessage, guard: Guard, isUnix: boolean): Answer | undefined {
  if (!isOwnHost(request.headers.host, guard.hostNames, isUnix)) {
    return refusal(421, "denied", "this server does not have that name; start it with --host-name NAME");
  }
  // No route reads a body.
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  if ((length !== undefined && length !== "0") || encoding !== undefined) {
    return refusal(413, "bad-request", "a request has no body here", { Connection: "close" });
  }
  if (request.method === "GET" || request.method === "HEAD") return undefined;
  return refusal(405, "not-allowed", "this server only reads: GET and HEAD", { Allow: "GET, HEAD" });
}

/** Path and query of a request's target; undefined for what is none, and for "..", which no address here has. */
export function targetOf(target: string): { path: string; query: URLSearchParams } | undefined {
  if (!target.startsWith("/")) return undefined;
  const [raw = "", query = ""] = target.split(/\?(.*)/s);
  try {
    const path = decodeURIComponent(raw);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it looks for
    if (/[\x00-\x1f\\]|\/\.\.?(\/|$)|\/\//.test(path)) return undefined;
    return { path, query: new URLSearchParams(query) };
  } catch {
    return undefined;
  }
}
