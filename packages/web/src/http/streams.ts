/** Open streams of server-sent events: each event is written to all, and a client that does not read is dropped. */
import type { ServerResponse } from "node:http";
import { headersOf } from "./headers.ts";
import type { Limits } from "./limits.ts";
import { Tally } from "./tally.ts";

export class Streams {
  /** With how many bytes may wait for each: at first also the bytes of its first event, which may be more. */
  readonly #open = new Map<ServerResponse, number>();
  readonly #tally: Tally;
  readonly #unreadBytes: number;
  readonly #answerMs: number;
  readonly #ping: NodeJS.Timeout;
  #id = Date.now();

  constructor(limits: Limits) {
    this.#tally = new Tally({ perAddress: limits.streamsPerAddress, total: limits.streams });
    this.#unreadBytes = limits.unreadBytes;
    this.#answerMs = limits.answerMs;
    // An event and not a comment: EventSource shows no comment to a page.
    this.#ping = setInterval(() => this.send("ping", JSON.stringify({ at: Date.now() })), limits.pingMs);
    this.#ping.unref();
  }

  get count(): number {
    return this.#open.size;
  }

  /** Begins a stream with its first event. False where a limit is reached: nothing has been written then. */
  add(response: ServerResponse, address: string, first: () => Buffer): boolean {
    // Behind another answer of its connection, which may be a stream without an end.
    if (response.socket === null) return false;
    const giveBack = this.#tally.take(address);
    if (giveBack === undefined) return false;
    response.once("close", () => {
      giveBack();
      this.#open.delete(response);
    });
    // A silent stream stays open: its client has nothing to send. Pings that nobody reads end it.
    response.socket?.setTimeout(0);
    response.writeHead(200, { ...headersOf("text/event-stream"), "X-Accel-Buffering": "no" });
    const bytes = first();
    const isTaken = response.write(bytes);
    this.#open.set(response, isTaken ? this.#unreadBytes : this.#unreadBytes + bytes.length);
    if (!isTaken) this.#firstIsRead(response);
    return true;
  }

  /** Until then more may wait for the client, but not for long. */
  #firstIsRead(response: ServerResponse): void {
    const late = setTimeout(() => response.destroy(), this.#answerMs);
    response.once("close", () => clearTimeout(late));
    response.once("drain", () => {
      clearTimeout(late);
      if (this.#open.has(response)) this.#open.set(response, this.#unreadBytes);
    });
  }

  /** The bytes of an event. */
  event(name: string, data: string): Buffer {
    return Buffer.from(`id: ${this.#id++}\nevent: ${name}\ndata: ${data}\n\n`);
  }

  /** One event, to all. */
  send(name: string, data: string): void {
    if (this.#open.size > 0) this.#write(this.event(name, data));
  }

  #write(bytes: Buffer): void {
    for (const [response, unreadBytes] of this.#open) {
      if (response.writableLength > unreadBytes) response.destroy();
      else response.write(bytes);
    }
  }

  close(): void {
    clearInterval(this.#ping);
    for (const response of this.#open.keys()) response.destroy();
  }
}
