/** Open streams of server-sent events: each event is written to all, and a client that does not read is dropped. */
import type { ServerResponse } from "node:http";
import { headersOf } from "./headers.ts";
import type { Limits } from "./limits.ts";
import { Tally } from "./tally.ts";

export class Streams {
  readonly #open = new Set<ServerResponse>();
  readonly #tally: Tally;
  readonly #unreadBytes: number;
  readonly #ping: NodeJS.Timeout;
  #id = Date.now();

  constructor(limits: Limits) {
    this.#tally = new Tally({ perAddress: limits.streamsPerAddress, total: limits.streams });
    this.#unreadBytes = limits.unreadBytes;
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
    response.write(first());
    this.#open.add(response);
    return true;
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
    for (const response of this.#open) {
      if (response.writableLength > this.#unreadBytes) response.destroy();
      else response.write(bytes);
    }
  }

  close(): void {
    clearInterval(this.#ping);
    for (const response of this.#open) response.destroy();
  }
}
