/**
 * How many system calls an operation takes, in the broker and in the guard process that sets sockets right: what runs
 * for each client. A change that adds a call to one of these paths changes a bound here, and says why.
 */
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type BrokerProcess, spawnBroker } from "../support/broker.ts";
import { type TracedCall, traceCalls } from "../support/call-trace.ts";
import { childrenOf } from "../support/guards.ts";
import { needs } from "../support/needs.ts";

const ROUNDS = 40;
/** The first rounds open, fork and learn what later ones have. */
const FIRST = 12;
const PIPELINED = 16;

const files = {
  "one.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n',
  "four.toml": ["tcp", "udp"]
    .flatMap((kind) => [1, 2].map((n) => `[sockets.${kind}${n}]\nlisten = ["${kind}://127.0.0.1:0"]\n`))
    .join(""),
};

/** Descriptors that come with a reply are closed by the kernel, for Node's sockets read without room for them. */
class Client {
  readonly #socket: Socket;
  #hear: (reply: Record<string, unknown>) => void = () => undefined;
  #text = "";

  constructor(path: string) {
    this.#socket = connect(path).setEncoding("utf8");
    this.#socket.on("data", (part: string) => {
      this.#text += part;
      if (!this.#text.endsWith("\0")) return;
      const reply = JSON.parse(this.#text.slice(this.#text.lastIndexOf("\0", this.#text.length - 2) + 1, -1)) as {
        parameters: Record<string, unknown>;
      };
      this.#text = "";
      this.#hear(reply.parameters);
    });
  }

  call(method: string, parameters: Record<string, unknown>): Promise<Record<string, unknown>> {
    return new Promise((resolve) => {
      this.#hear = resolve;
      this.#socket.write(`${JSON.stringify({ method: `io.berthd.Broker.${method}`, parameters })}\0`);
    });
  }

  /** Makes one call so many times at once, and waits for as many replies. */
  async calls(times: number, method: string, parameters: Record<string, unknown>): Promise<void> {
    let left = times;
    const answered = new Promise<void>((resolve) => {
      const hear = (part: string): void => {
        left -= part.split("\0").length - 1;
        if (left > 0) return;
        this.#socket.off("data", hear);
        resolve();
      };
      this.#socket.on("data", hear);
    });
    this.#hear = () => undefined;
    this.#socket.write(`${JSON.stringify({ method: `io.berthd.Broker.${method}`, parameters })}\0`.repeat(times));
    await answered;
  }

  async end(): Promise<void> {
    const closed = new Promise((resolve) => this.#socket.once("close", resolve));
    this.#socket.end();
    await closed;
  }
}

type Operation = (broker: BrokerProcess) => Promise<() => Promise<void>>;

const present: Operation = async ({ socket }) => {
  const client = new Client(socket);
  await client.call("Acquire", { berth: "one" });
  return async () => void (await client.call("Acquire", { berth: "one" }));
};

const pipelined: Operation = async ({ socket }) => {
  const client = new Client(socket);
  await client.call("Acquire", { berth: "one" });
  return () => client.calls(PIPELINED, "Acquire", { berth: "one" });
};

const anew: Operation = async ({ socket }) => {
  await new Client(socket).call("Acquire", { berth: "one" });
  return async () => {
    const client = new Client(socket);
    await client.call("Acquire", { berth: "one" });
    await client.end();
  };
};

const fresh =
  (berth: string): Operation =>
  async ({ socket }) => {
    const client = new Client(socket);
    return async () => {
      const { lease } = await client.call("Acquire", { berth });
      await client.call("Release", { lease });
    };
  };

/**
 * Calls of the broker's main thread in one round in the middle, and of a guard worker for one request in the middle.
 */
async function callsOf(begin: Operation): Promise<{ broker: readonly TracedCall[]; guard: readonly TracedCall[] }> {
  await using broker = await spawnBroker(files);
  const round = await begin(broker);
  // The second one waits until there is a guard worker.
  await round();
  await round();
  const [zygote = -1] = childrenOf(broker.pid, "berth-guard");
  const workers = childrenOf(zygote, "berth-guard-w");
  const stop = await traceCalls([broker.pid, zygote, ...workers], join(broker.folder.path, "trace"));
  for (let n = 0; n < ROUNDS; n++) await round();
  const calls = await stop();
  const threads = new Set([...readdirSync(`/proc/${broker.pid}/task`).map(Number), zygote]);
  // One that has had nothing to do for a while has ended, and another went on.
  const guard = [...calls].flatMap(([pid, own]) => (threads.has(pid) ? [] : own));
  return {
    broker: inTheMiddle(parts(calls.get(broker.pid) ?? [], isTaken)),
    guard: inTheMiddle(parts(guard, isRequest)),
  };
}

/** What a thread does from one such call to the next. */
function parts(calls: readonly TracedCall[], isFirst: (call: TracedCall) => boolean): readonly TracedCall[][] {
  const starts = calls.flatMap((call, at) => (isFirst(call) ? [at] : []));
  return starts.slice(FIRST, -1).map((start, at) => calls.slice(start, starts[FIRST + at + 1]));
}

/** Where a timer or a garbage collection comes between there are more. */
function inTheMiddle(all: readonly TracedCall[][]): readonly TracedCall[] {
  return all.toSorted((a, b) => a.length - b.length)[all.length >> 1] ?? [];
}

/** An Acquire that is read for good: its end may have been looked for before. */
function isTaken({ name, text }: TracedCall): boolean {
  return /^recv(from|msg)$/.test(name) && text.includes("Broker.Acquire") && !text.includes("MSG_PEEK");
}

/** What a guard worker is asked on its channel, or waits to be asked. */
function isRequest({ text }: TracedCall): boolean {
  return text.startsWith("recvmsg(3,");
}

/** One word for each call: its name, and what tells it from others like it. */
function listed(calls: readonly TracedCall[]): string {
  return calls.map(({ name, text }) => `${name}(${/[A-Z]{2,}_\w+/.exec(text)?.[0] ?? ""})`).join(" ");
}

describe("system calls", needs("root", "strace"), () => {
  it.each([
    ["Acquire by the present tenant", present, { broker: 3, guard: 0 }],
    // A reply each, and three to read them all.
    ["16 Acquires at once by the present tenant", pipelined, { broker: 19, guard: 0 }],
    ["connect and Acquire by the present tenant", anew, { broker: 19, guard: 0 }],
    ["Acquire and Release of a berth of one socket", fresh("one"), { broker: 14, guard: 105 }],
    ["Acquire and Release of a berth of four sockets", fresh("four"), { broker: 17, guard: 372 }],
    // A busy machine may split an event in two. A call that was added is there each time.
  ])("%s takes no more than these", { retry: 2 }, async (_, operation, most) => {
    const { broker, guard } = await callsOf(operation);
    expect(broker.length).toBeGreaterThan(1);
    expect(guard.length > 0).toBe(most.guard > 0);
    expect(broker.length, listed(broker)).toBeLessThanOrEqual(most.broker);
    expect(guard.length, listed(guard)).toBeLessThanOrEqual(most.guard);
  });
});
