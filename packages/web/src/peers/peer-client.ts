/** Requests to the berth-web of another host: one answer, or its stream of events. Every wait and size is bounded. */
import { once } from "node:events";
import { type AgentOptions, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { sleep } from "../sleep.ts";
import { NotUnderstood } from "./checks.ts";

/** Where a peer is, and what it asks for. Plain values, which can be sent to a thread. */
export interface PeerPlace {
  /** How this page calls the host. */
  readonly name: string;
  /** Of its berth-web: a URL whose path ends with a slash, or `unix:` and the path of its socket. */
  readonly address: string;
  readonly token: string | undefined;
}

/** How this process proves to all peers who it is, and whom it believes. PEM. */
export interface PeerTls {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

export interface PeerAnswer {
  readonly status: number;
  readonly text: string;
}

/** Milliseconds until the headers of an answer must be there, and then until its last byte. */
const ANSWER_MS = 10_000;
/** Milliseconds without a byte of a stream: a ping comes every 10 s. */
const SILENCE_MS = 25_000;
/** The largest answer, and the largest event. An overview has about 1 KiB for each berth. */
export const MAX_BYTES: number = 8 * 2 ** 20;
/** Of the time of this thread, a peer gets one part in so many: it may send what takes long to read. */
const TIME_SHARE = 10;
/** Connections for single questions. More questions wait for one. */
const CONNECTIONS = 4;

export class PeerClient {
  readonly #base: URL;
  readonly #socketPath: string | undefined;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #asking: HttpAgent;
  /** A stream would keep one of the few connections. */
  readonly #streaming: HttpAgent;

  readonly #silenceMs: number;

  constructor({ address, token }: PeerPlace, { ca, cert, key }: PeerTls, silenceMs: number = SILENCE_MS) {
    this.#silenceMs = silenceMs;
    this.#socketPath = address.startsWith("unix:") ? address.slice("unix:".length) : undefined;
    const base = new URL(this.#socketPath === undefined ? address : "http://localhost/");
    this.#base = base;
    this.#headers = {
      accept: "application/json",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
    const tls = { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert, key }) };
    const agent = (options: AgentOptions): HttpAgent =>
      base.protocol === "https:" ? new HttpsAgent({ ...options, ...tls }) : new HttpAgent(options);
    this.#asking = agent({ keepAlive: true, maxSockets: CONNECTIONS });
    this.#streaming = agent({});
  }

  /** `path` is below /api/v1. Throws where no answer comes in time, or one that is too large. */
  async get(path: string, stop: AbortSignal): Promise<PeerAnswer> {
    const late = AbortSignal.timeout(ANSWER_MS);
    const response = await this.#send(path, this.#asking, AbortSignal.any([stop, late]));
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response) {
      length += chunk.length;
      if (length > MAX_BYTES) throw tooLarge();
      chunks.push(chunk);
    }
    return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
  }

  /**
   * The events of the stream, until it ends. Throws as `get` does, and where the peer is silent. What takes long here
   * or in the caller is followed by a longer pause, in which the kernel lets the peer wait. The pause is no silence.
   */
  async *events(stop: AbortSignal): AsyncGenerator<EventSourceMessage, void> {
    const late = new AbortController();
    let timer = setTimeout(() => late.abort(new Error(SILENT)), ANSWER_MS);
    try {
      const response = await this.#send("events", this.#streaming, AbortSignal.any([stop, late.signal]));
      if (response.statusCode !== 200) throw new Error(statusSentence(response.statusCode));
      const events: EventSourceMessage[] = [];
      let unread = 0;
      const parser = createParser({
        onEvent: (event) => {
          unread = 0;
          events.push(event);
        },
      });
      for await (const chunk of response.setEncoding("utf8")) {
        clearTimeout(timer);
        const began = performance.now();
        // The parser looks for the far one at each line before it. Our streams have none.
        if (chunk.includes("\r")) throw new NotUnderstood("its stream has carriage returns");
        unread += chunk.length;
        parser.feed(chunk);
        if (unread > MAX_BYTES) throw tooLarge();
        yield* events.splice(0);
        const spent = performance.now() - began;
        if (spent >= 1) await sleep(spent * (TIME_SHARE - 1), stop);
        timer = setTimeout(() => late.abort(new Error(SILENT)), this.#silenceMs);
      }
    } finally {
      clearTimeout(timer);
      late.abort();
    }
  }

  async #send(path: string, agent: HttpAgent, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const url = new URL(`api/v1/${path}`, this.#base);
    const place = this.#socketPath === undefined ? {} : { socketPath: this.#socketPath };
    const options = { headers: this.#headers, agent, signal, ...place };
    const sent = url.protocol === "https:" ? httpsRequest(url, options) : httpRequest(url, options);
    sent.end();
    try {
      const [response] = await once(sent, "response");
      return response;
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      // An error after the headers comes by the response.
      sent.on("error", () => undefined);
    }
  }

  close(): void {
    this.#asking.destroy();
    this.#streaming.destroy();
  }
}

const SILENT = "it does not answer in time";

function tooLarge(): Error {
  return new Error(`its answer is larger than ${MAX_BYTES >> 20} MiB`);
}

function statusSentence(status: number | undefined): string {
  const remedies = new Map([
    [401, "; give it the token: --peer-token-file FILE"],
    [404, "; is it a berth-web?"],
    [421, "; start it with --host-name and the name in --peer"],
    [503, "; too many streams are open there"],
  ]);
  return `it answers with status ${status}${remedies.get(status ?? 0) ?? ""}`;
}
