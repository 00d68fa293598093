/** An etcd of one member on loopback. It can be killed, and started again with what it had. Needs `needs("etcd")`. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import { EtcdClient } from "../../../packages/fleet/src/index.ts";
import { TestFolder } from "../broker.ts";
import { pathOf } from "../needs.ts";
import { freePort } from "../ports.ts";
import { endsWithTest } from "../wrap.ts";

/** One etcd for all tests of a `describe`, and a client of it: `started` gets both before the first test. */
export function shareEtcd(started: (etcd: TestEtcd, client: EtcdClient) => void): void {
  let etcd: TestEtcd | undefined;
  let client: EtcdClient | undefined;
  beforeAll(async () => {
    etcd = await TestEtcd.start();
    client = new EtcdClient([etcd.endpoint]);
    started(etcd, client);
  }, 60_000);
  afterAll(async () => {
    client?.[Symbol.dispose]();
    await etcd?.[Symbol.asyncDispose]();
  }, 60_000);
}

export class TestEtcd implements AsyncDisposable {
  readonly #folder = new TestFolder();
  readonly #args: readonly string[];
  /** As `http://127.0.0.1:2379`. */
  readonly endpoint: string;
  #child: ChildProcess | undefined;

  private constructor(scheme: string, port: number, peerPort: number, args: readonly string[]) {
    this.endpoint = `${scheme}://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    this.#args = [
      ...["--name", "test", "--data-dir", join(this.#folder.path, "data")],
      ...["--listen-client-urls", this.endpoint, "--advertise-client-urls", this.endpoint],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `test=${peer}`],
      ...args,
    ];
  }

  /** Starts one with these arguments too. If another program took a port, it takes others. */
  static async start({ scheme = "http", args = [] }: { scheme?: string; args?: readonly string[] } = {}) {
    for (let tries = 3; ; tries--) {
      const etcd = new TestEtcd(scheme, await freePort(), await freePort(), args);
      try {
        await etcd.restart();
        return etcd;
      } catch (error) {
        await etcd[Symbol.asyncDispose]();
        if (tries === 1 || !String(error).includes("address already in use")) throw error;
      }
    }
  }

  /** Resolves when it serves. */
  async restart(): Promise<void> {
    const [command = "", ...args] = [...endsWithTest, pathOf("etcd"), ...this.#args];
    const child = spawn(command, args, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, GOMAXPROCS: "1" },
    });
    this.#child = child;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (chunk) => {
        log += chunk;
        if (log.includes("ready to serve client requests")) resolve();
      });
      child.once("close", () => reject(new Error(`etcd has ended:\n${log}`)));
    });
  }

  /** Resolves when it has ended. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  }

  /** SIGSTOP. Resolves when all its threads stand still: a signal takes its time. */
  async freeze(): Promise<void> {
    const pid = this.#child?.pid;
    this.#child?.kill("SIGSTOP");
    const tasks = `/proc/${pid}/task`;
    const isStill = (task: string): boolean => /\) T /.test(readFileSync(join(tasks, task, "stat"), "utf8"));
    for (let tries = 1000; !readdirSync(tasks).every(isStill); tries--) {
      if (tries === 0) throw new Error("etcd does not stand still");
      await setTimeout(10);
    }
  }

  /** Forgets what happened before this revision. */
  async compact(revision: number): Promise<void> {
    const body = JSON.stringify({ revision: String(revision), physical: true });
    const reply = await fetch(`${this.endpoint}/v3/kv/compaction`, { method: "POST", body });
    if (!reply.ok) throw new Error(`compaction: ${reply.status} ${await reply.text()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#folder[Symbol.dispose]();
  }
}
