/** gRPC on connections that have been let in: HTTP/2 without TLS (gRPC over HTTP2, PROTOCOL-HTTP2.md). */
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { Deframer, frame, MalformedFrame } from "../../etcd/frames.ts";
import { type Answer, type Call, calls, gameServerOf } from "../calls.ts";
import { Refusal, refusalOf } from "../refusal.ts";
import type { Session } from "../session.ts";
import { toBytes } from "../wire/sink.ts";
import { fromBytes } from "../wire/source.ts";
import { LONGEST_REQUEST, MOST_UNREAD } from "./limits.ts";

const MOST_STREAMS = 64;
const byPath: ReadonlyMap<string, Call> = new Map(calls.map((call) => [call.grpc, call]));

export function serveGrpc(socket: Socket, server: Session): void {
  const session: ServerHttp2Session = performServerHandshake(socket, {
    settings: { maxConcurrentStreams: MOST_STREAMS, enablePush: false },
    maxSessionMemory: 4,
  });
  session.on("error", () => session.destroy());
  session.on("stream", (stream, headers) => {
    stream.on("error", () => undefined); // the client has reset it
    serveStream(stream, headers, server);
  });
}

function serveStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, server: Session): void {
  const call = byPath.get(String(headers[":path"]));
  if (headers[":method"] !== "POST" || !/^application\/grpc(?:[+;]|$)/.test(headers["content-type"] ?? "")) {
    stream.respond({ [constants.HTTP2_HEADER_STATUS]: 415 }, { endStream: true });
    stream.resume();
    return;
  }
  if (call === undefined) return refuse(stream, new Refusal("UNIMPLEMENTED", "the SDK of berthd has no such call"));
  const frames = new Deframer(LONGEST_REQUEST);
  let last: Answer | undefined;
  let isOver = false;
  const fail = (error: unknown): void => {
    if (isOver) return;
    isOver = true;
    refuse(stream, refusalOf(error));
  };
  const run = async (message: Buffer): Promise<void> => {
    last = await call.run(server, fromBytes(message));
    if (isOver || call.kind === "many") return;
    isOver = true;
    if (call.kind === "watch") watch(stream, server);
    else finish(stream, last);
  };
  stream.on("data", (piece: Buffer) => {
    try {
      if (isOver) return;
      for (const message of frames.push(piece)) run(message).catch(fail);
    } catch (error) {
      fail(error instanceof MalformedFrame ? new Refusal("INVALID_ARGUMENT", `a message ${error.message}`) : error);
    }
  });
  stream.on("end", () => {
    if (call.kind !== "many" || isOver) return;
    isOver = true;
    finish(stream, last ?? (() => undefined));
  });
}

function finish(stream: ServerHttp2Stream, answer: Answer): void {
  begin(stream);
  stream.end(frame(toBytes(answer)));
}

/** The last message of each server: all its watches get the same. */
const messages = new WeakMap<Session, { readonly version: number; readonly message: Buffer }>();

function messageOf(server: Session): Buffer {
  const { version } = server.gameServer;
  const known = messages.get(server);
  if (known?.version === version) return known.message;
  const message = frame(toBytes(gameServerOf(server)));
  messages.set(server, { version, message });
  return message;
}

/** Each state of it, until the client or the lease ends. A client that does not read is disconnected. */
function watch(stream: ServerHttp2Stream, server: Session): void {
  begin(stream);
  const tell = (): void => {
    if (stream.writableLength > MOST_UNREAD) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    else stream.write(messageOf(server));
  };
  try {
    const forget = server.watch(tell);
    stream.once("close", forget);
    tell();
  } catch (error) {
    trailers(stream, refusalOf(error));
    stream.end();
  }
}

function begin(stream: ServerHttp2Stream): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  trailers(stream, undefined);
}

function trailers(stream: ServerHttp2Stream, refusal: Refusal | undefined): void {
  stream.removeAllListeners("wantTrailers");
  stream.once("wantTrailers", () => stream.sendTrailers(statusOf(refusal)));
}

/** Trailers alone. */
function refuse(stream: ServerHttp2Stream, refusal: Refusal): void {
  stream.resume();
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ":status": 200, "content-type": "application/grpc", ...statusOf(refusal) }, { endStream: true });
}

function statusOf(refusal: Refusal | undefined): Record<string, string> {
  if (refusal === undefined) return { "grpc-status": "0" };
  return { "grpc-status": String(refusal.grpc), "grpc-message": encodeURIComponent(refusal.message) };
}
