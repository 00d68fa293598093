/** One HTTP/2 connection to one member of etcd, and gRPC calls on it. It is not opened again after it has closed. */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Deframer, frame } from "./frames.ts";

/** Files' contents in PEM. */
export interface TlsFiles {
  /** Who signs the members' certificates. */
  readonly ca: string;
  /** Who we are, for etcd's --client-cert-auth. */
  readonly cert?: string;
  readonly key?: string;
}

/** A call that failed. `status` is gRPC's; UNAVAILABLE also for a connection that broke. */
export class CallFailed extends Error {
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

export const UNAVAILABLE = 14;
export const DEADLINE_EXCEEDED = 4;
export const PERMISSION_DENIED = 7;

const CONNECT_MS = 3_000;
/** etcd closes connections that ping more often than every 5 seconds (--grpc-keepalive-min-time). */
const PING_EVERY_MS = 10_000;
const PING_ANSWER_MS = 5_000;

export class Channel implements Disposable {
  readonly #session: ClientHttp2Session;
  readonly #pings: NodeJS.Timeout;
  /** Until when the last ping has to be answered. */
  #late: NodeJS.Timeout | undefined;
  #isEnded = false;

  private constructor(session: ClientHttp2Session) {
    this.#session = session;
    session.on("error", () => undefined); // Its calls have it, too.
    session.on("goaway", () => session.close());
    this.#pings = setInterval(() => this.#ping(), PING_EVERY_MS);
    session.once("close", () => this.#stopPings());
  }

  /** Throws {@link CallFailed}. */
  static async open(endpoint: string, tls?: TlsFiles): Promise<Channel> {
    const socket = await connectedSocket(endpoint, tls);
    const session = connect(endpoint, { createConnection: () => socket });
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        session.on("error", () => undefined);
        destroyLater(session);
        reject(new CallFailed(UNAVAILABLE, `${endpoint}: ${why}`));
      };
      const timer = setTimeout(() => fail(`no answer in ${CONNECT_MS / 1000} seconds`), CONNECT_MS);
      session.once("error", (error) => fail(reasonOf(error, tls)));
      // With TLS 1.3 a member refuses us only now, and http2 does not tell its session.
      const refused = (error: Error): void => fail(reasonOf(error, tls));
      socket.once("error", refused);
      // A member that is going down closes at once.
      session.once("close", () => fail("it has closed the connection"));
      session.once("remoteSettings", () => {
        clearTimeout(timer);
        socket.off("error", refused);
        session.removeAllListeners("error").removeAllListeners("close");
        resolve();
      });
    });
    return new Channel(session);
  }

  get closed(): boolean {
    return this.#isEnded || this.#session.closed || this.#session.destroyed;
  }

  /** One request, one reply. */
  async call(method: string, message: Buffer, withinMs: number): Promise<Buffer> {
    const signal = AbortSignal.timeout(withinMs);
    let first: Buffer | undefined;
    for await (const reply of this.#exchange(method, message, { end: true }, signal)) first ??= reply;
    if (first !== undefined) return first;
    if (signal.aborted) throw new CallFailed(DEADLINE_EXCEEDED, `no answer in ${withinMs / 1000} seconds`);
    throw new CallFailed(UNAVAILABLE, "the call ended without a reply");
  }

  /** One request, and replies until the signal. A member that loses its leader ends it with UNAVAILABLE. */
  stream(method: string, message: Buffer, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
    return this.#exchange(method, message, { end: false }, signal);
  }

  async *#exchange(
    method: string,
    message: Buffer,
    { end }: { readonly end: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void, void> {
    if (this.closed) throw new CallFailed(UNAVAILABLE, "the connection is closed");
    const stream = this.#session.request({
      ":method": "POST",
      ":path": `/etcdserverpb.${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      ...(!end && { hasleader: "true" }),
    });
    const status = statusOf(stream);
    const abort = (): void => stream.close(constants.NGHTTP2_CANCEL);
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    try {
      stream.write(frame(message));
      if (end) stream.end();
      const deframer = new Deframer();
      for await (const piece of stream) yield* deframer.push(piece);
      if (signal.aborted) return;
      status.check();
    } catch (error) {
      if (error instanceof CallFailed) throw error;
      if (signal.aborted) return;
      throw new CallFailed(UNAVAILABLE, reasonOf(error), { cause: error });
    } finally {
      signal.removeEventListener("abort", abort);
      abort();
    }
  }

  /** Without an answer the other end is gone, though nothing closed the connection. */
  #ping(): void {
    clearTimeout(this.#late);
    const late = setTimeout(() => this.#session.destroy(new Error("it answers no ping")), PING_ANSWER_MS);
    this.#late = late;
    if (!this.#session.ping(() => clearTimeout(late))) clearTimeout(late);
  }

  #stopPings(): void {
    clearInterval(this.#pings);
    clearTimeout(this.#late);
  }

  [Symbol.dispose](): void {
    this.#isEnded = true;
    this.#stopPings();
    destroyLater(this.#session);
  }
}

/**
 * Never at once: who waits for a call goes on while nghttp2 reads the frames that have ended it. If the session's other
 * streams are reset at that moment, nghttp2 uses memory that it has freed (seen by valgrind on Node 20.20). Of CANCEL
 * alone Node takes care: Http2Stream::SubmitRstStream in its src/node_http2.cc.
 */
function destroyLater(session: ClientHttp2Session): void {
  setImmediate(() => session.destroy());
}

/**
 * A socket that is connected. A session that connects by itself must not be destroyed before it has: Node 20 then uses
 * memory that it has freed (ConnectionWrap::AfterConnect), as where packets are lost for a while. Throws
 * {@link CallFailed}.
 */
async function connectedSocket(endpoint: string, tls: TlsFiles | undefined): Promise<Socket> {
  const { protocol, hostname, port } = new URL(endpoint);
  const to = { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
  const secure = protocol === "https:";
  const name = isIP(to.host) === 0 ? { servername: to.host } : {};
  const socket = secure ? connectTls({ ...to, ...name, ...tls, ALPNProtocols: ["h2"] }) : connectTcp(to);
  try {
    await once(socket, secure ? "secureConnect" : "connect", { signal: AbortSignal.timeout(CONNECT_MS) });
    return socket;
  } catch (error) {
    socket.on("error", () => undefined).destroy();
    const isLate = error instanceof Error && error.name === "AbortError";
    const why = isLate ? `no answer in ${CONNECT_MS / 1000} seconds` : reasonOf(error, tls);
    throw new CallFailed(UNAVAILABLE, `${endpoint}: ${why}`, { cause: error });
  }
}

/** gRPC's status of a stream: in its trailers, or in its headers if it failed at once. */
function statusOf(stream: ClientHttp2Stream): { readonly check: () => void } {
  let seen: IncomingHttpHeaders = {};
  const take = (headers: IncomingHttpHeaders): void => {
    if (headers["grpc-status"] !== undefined) seen = headers;
  };
  stream.on("response", take).on("trailers", take);
  const check = (): void => {
    const status = Number(seen["grpc-status"] ?? UNAVAILABLE);
    if (status === 0) return;
    throw new CallFailed(status, decoded(seen["grpc-message"]) ?? "the connection broke");
  };
  return { check };
}

/** Percent-encoded, as gRPC writes messages. */
function decoded(text: string | string[] | undefined): string | undefined {
  if (typeof text !== "string") return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A member refuses us by an alert of TLS (RFC 8446, section 6). Older Go calls a missing certificate bad. */
const REFUSED = /^ERR_SSL_.*(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA)$/;

function reasonOf(error: unknown, tls?: TlsFiles): string {
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && REFUSED.test(String(error.code)))
    return tls?.cert === undefined ? "it asks for a certificate: give --cert and --key" : "it refuses our certificate";
  return "code" in error && typeof error.code === "string" ? `${error.message} (${error.code})` : error.message;
}
