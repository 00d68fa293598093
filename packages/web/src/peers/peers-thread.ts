/**
 * The other hosts of the page, as its own thread has them: another thread reads what they say. If that one ends, as for
 * want of memory, it is started again, and what was known stays.
 */
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { BerthRow, Host, StreamTimeline } from "../api/shapes.ts";
import { type Answer, Body } from "../http/answer.ts";
import { headersOf } from "../http/headers.ts";
import { packageFolder } from "../package-folder.ts";
import { away, neverSeen } from "./away.ts";
import type { Part } from "./peers.ts";
import type { AskThread, Question, ThreadSays, ThreadStart } from "./thread-messages.ts";

export interface PeersEvents {
  timeline(happened: StreamTimeline): void;
  say(message: string): void;
}

const PROGRAM = join(packageFolder, "dist/server/peers/thread.js");
/** Memory of the thread, in MiB: of V8's old generation. Connections and their bytes come on top. */
const MOST_MEMORY = 512;
const AGAIN_MS = 5_000;

interface Known {
  host: Host;
  readonly rows: Map<string, BerthRow>;
  /** Undefined after a change. */
  shown: readonly BerthRow[] | undefined;
}

export class PeersThread {
  readonly #start: ThreadStart;
  readonly #program: string;
  readonly #events: PeersEvents;
  readonly #known: ReadonlyMap<string, Known>;
  readonly #waiting = new Map<number, { readonly host: string; readonly resolve: (answer: Answer) => void }>();
  #worker: Worker | undefined;
  #again: NodeJS.Timeout | undefined;
  #id = 0;

  constructor(start: ThreadStart, events: PeersEvents, program: string = PROGRAM) {
    this.#start = start;
    this.#program = program;
    this.#events = events;
    const now = Date.now();
    this.#known = new Map(
      start.places.map((place) => [place.name, { host: neverSeen(place, now), rows: new Map(), shown: undefined }]),
    );
  }

  /** Without peers there is no thread. */
  start(): void {
    if (this.#start.places.length === 0) return;
    const worker = new Worker(this.#program, {
      workerData: this.#start,
      resourceLimits: { maxOldGenerationSizeMb: MOST_MEMORY },
    });
    this.#worker = worker;
    worker.on("message", (message: ThreadSays) => this.#hear(message));
    // The event exit follows.
    worker.on("error", (error) => this.#events.say(`the thread that reads peers has ended: ${error.message}`));
    worker.once("exit", () => this.#ended());
  }

  get hosts(): readonly Host[] {
    return [...this.#known.values()].map(({ host }) => host);
  }

  /** A row is the same object until it changes. */
  get rows(): readonly BerthRow[] {
    return [...this.#known.values()].flatMap((known) => {
      known.shown ??= [...known.rows.values()];
      return known.shown;
    });
  }

  has(host: string): boolean {
    return this.#known.has(host);
  }

  /** What /api/v1/berths/HOST/NAME and the addresses below it answer. */
  berth(host: string, name: string, part: Part, query: URLSearchParams): Promise<Answer> {
    return this.#ask({ kind: "berth", host, name, part, query: String(query) });
  }

  /** What /api/v1/quiet answers. `name` is null for all berths of the host. */
  quiet(host: string, name: string | null): Promise<Answer> {
    return this.#ask({ kind: "quiet", host, name });
  }

  #ask(question: Question): Promise<Answer> {
    const { host } = question;
    const worker = this.#worker;
    if (worker === undefined) return Promise.resolve(away(host, "the thread that reads peers is started again"));
    const id = ++this.#id;
    const ask: AskThread = { id, question };
    return new Promise((resolve) => {
      this.#waiting.set(id, { host, resolve });
      worker.postMessage(ask);
    });
  }

  #hear(message: ThreadSays): void {
    switch (message.kind) {
      case "host":
        return this.#hearHost(message.host, message.hasAnswered);
      case "rows":
        return this.#hearRows(message);
      case "timeline":
        return this.#events.timeline(message.happened);
      case "say":
        return this.#events.say(message.message);
      case "answer": {
        const { id, status, bytes } = message;
        const body = new Body(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        this.#waiting.get(id)?.resolve({ status, headers: headersOf("application/json"), body });
        this.#waiting.delete(id);
        return;
      }
      default:
        return message satisfies never;
    }
  }

  /** A thread that is new knows only that the host is away. */
  #hearHost(host: Host, hasAnswered: boolean): void {
    const known = this.#known.get(host.id);
    if (known === undefined) return;
    const { unreachableSince, nextTry } = host;
    known.host = hasAnswered
      ? host
      : { ...known.host, unreachableSince: known.host.unreachableSince ?? unreachableSince, nextTry };
  }

  #hearRows({ host, isAll, changed, removed }: Extract<ThreadSays, { readonly kind: "rows" }>): void {
    const known = this.#known.get(host);
    if (known === undefined) return;
    if (isAll) known.rows.clear();
    for (const name of removed) known.rows.delete(name);
    for (const row of changed) known.rows.set(row.name, row);
    known.shown = undefined;
  }

  #ended(): void {
    this.#worker = undefined;
    this.#refuseAll("the thread that reads peers has ended");
    const now = Date.now();
    for (const known of this.#known.values()) {
      const unreachableSince = known.host.unreachableSince ?? now;
      known.host = { ...known.host, unreachableSince, nextTry: now + AGAIN_MS };
    }
    this.#again = setTimeout(() => this.start(), AGAIN_MS);
  }

  #refuseAll(why: string): void {
    for (const { host, resolve } of this.#waiting.values()) resolve(away(host, why));
    this.#waiting.clear();
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    worker?.removeAllListeners("exit");
    clearTimeout(this.#again);
    await worker?.terminate();
    this.#worker = undefined;
    this.#refuseAll("this server ends");
  }
}
