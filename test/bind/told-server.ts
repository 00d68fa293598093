/** A server that binds what it is told, and what its broker foresees meanwhile. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readSync, writeSync } from "node:fs";
import { expect } from "vitest";
import type { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { socketPair } from "../../src/net/socket-queries.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { freePort } from "../support/ports.ts";
import { berth, copyFixture, inodesAt, launcher } from "./harness.ts";

const NEWLINE = 10;

/** Counts what the broker foresees. */
export class Foreseeing {
  #count = 0;
  /** How often it forgot all of that. */
  forgets = 0;
  /**
   * How often it foresaw a further bind, and how many milliseconds it then has in the place of what the broker says.
   */
  agains = 0;
  againMs: number | undefined;
  /** How many binds the event loop has answered. */
  answers = 0;
  /** Each int of this value, of what a new socket gives, is expected to be the other one. */
  wrong: { readonly is: number; readonly expected: number } | undefined;
  /** Whether it looks as if the held socket was still being changed, and how often somebody has asked. */
  isChanging = false;
  asked = 0;
  #wake: () => void = () => undefined;
  readonly sys: typeof native;

  constructor() {
    const onForeseen = (): void => {
      this.#count++;
      this.#wake();
    };
    const onForgotten = (): void => {
      this.forgets++;
    };
    const expectation = (calls: Uint8Array): Uint8Array => {
      const words = new Int32Array(calls.slice().buffer);
      const { wrong } = this;
      if (wrong === undefined) return calls;
      return new Uint8Array(words.map((word) => (word === wrong.is ? wrong.expected : word)).buffer);
    };
    const again = (ms: number): number => {
      if (ms === 0) return ms;
      this.agains++;
      return this.againMs ?? ms;
    };
    const onAnswer = (): void => {
      this.answers++;
    };
    const stillChanging = (): boolean => {
      this.asked++;
      return this.isChanging;
    };
    class Watched extends native.Interceptor {
      override foresee(...bind: Parameters<InstanceType<typeof native.Interceptor>["foresee"]>): void {
        const [id, held, sockaddr, network, calls, domain, type, variations, ms, times] = bind;
        super.foresee(id, held, sockaddr, network, expectation(calls), domain, type, variations, again(ms), times);
        onForeseen();
      }

      override answer(...answer: Parameters<InstanceType<typeof native.Interceptor>["answer"]>): void {
        super.answer(...answer);
        onAnswer();
      }

      override changing(): boolean {
        return stillChanging() || super.changing();
      }

      override forget(): void {
        super.forget();
        onForgotten();
      }
    }
    this.sys = { ...native, Interceptor: Watched };
  }

  async has(count: number): Promise<void> {
    while (this.#count < count)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }
}

/** A server of the berth that binds what it is told. */
export class Told implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #channel: FdHandle;

  constructor({ folder, socket }: TestBroker) {
    const script = copyFixture(folder, "bind-told.py");
    const [ours, theirs] = socketPair("stream", native);
    using channel = theirs;
    native.setfl(ours.fd, 0);
    native.setfl(channel.fd, 0);
    this.#channel = ours;
    this.#child = spawn(launcher, ["--socket", socket, "game", "--", "python3", "-u", script], {
      stdio: [channel.fd, channel.fd, "inherit"],
    });
  }

  /** Its first line. This process does other things meanwhile. */
  async begins(): Promise<void> {
    using poll = watch(this.#channel.fd);
    await poll.readable;
    expect(this.#read()).toBe("ready");
  }

  /** Its answer. Until then this process does nothing but wait. */
  ask(question: string): string {
    writeSync(this.#channel.fd, `${question}\n`);
    return this.#read();
  }

  /** Its answer. This process does other things meanwhile. */
  async answers(question: string): Promise<string> {
    writeSync(this.#channel.fd, `${question}\n`);
    using poll = watch(this.#channel.fd);
    await poll.readable;
    return this.#read();
  }

  /** The rest of a line waits: a poll has made the descriptor non-blocking. */
  #read(): string {
    native.setfl(this.#channel.fd, 0);
    const byte = Buffer.alloc(1);
    let line = "";
    while (readSync(this.#channel.fd, byte) > 0 && byte[0] !== NEWLINE) line += byte.toString();
    return line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Its input ends, and so does it.
    this.#channel.close();
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
  }
}

/** A broker whose berth has one UDP socket, and its server. */
export interface Served extends AsyncDisposable {
  readonly foreseeing: Foreseeing;
  readonly broker: TestBroker;
  readonly server: Told;
  readonly port: number;
  /** The inode of the held socket. */
  readonly held: string | undefined;
  /** Resolves when the server runs, and the broker foresees both of its binds. */
  begins(): Promise<void>;
}

export async function serve(more = ""): Promise<Served> {
  const foreseeing = new Foreseeing();
  const port = await freePort();
  const files = { "game.toml": berth({ game: [`udp://127.0.0.1:${port}`] }, more) };
  const broker = await startBroker(files, { sys: foreseeing.sys });
  const server = new Told(broker);
  return {
    ...{ foreseeing, broker, server, port, held: inodesAt("udp", port)[0] },
    begins: async () => {
      await server.begins();
      await foreseeing.has(2);
    },
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
    },
  };
}

function watch(fd: number): { readable: Promise<void> } & Disposable {
  let tell: () => void = () => undefined;
  const readable = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const poll = new native.Poll(fd, () => tell());
  poll.start(1);
  return { readable, [Symbol.dispose]: () => poll.close() };
}
