/**
 * A service manager for one service: it has a notification socket, a store of descriptors with a limit, and starts the
 * built daemon with what is in the store. It keeps systemd's rules: one descriptor of an open file, no word about what
 * exceeds the store, removal by name.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { FdHandle } from "../../src/fd.ts";
import { native, type Poll, packageRoot, READABLE, RECEIVED_LENGTH } from "../../src/native.ts";
import { type Logged, TestFolder } from "./broker.ts";
import { boundSocket } from "./sockets.ts";
import { endsWithTest } from "./wrap.ts";

export interface FakeManagerOptions {
  /** FileDescriptorStoreMax=. */
  readonly max?: number;
  /** What .socket units pass, by name; the manager's own. */
  readonly units?: readonly { readonly name: string; readonly handle: FdHandle }[];
  /** Variables of the service beside those of the manager. */
  readonly env?: NodeJS.ProcessEnv;
  /** In front of the command, as `["strace", …]`. */
  readonly wrap?: readonly string[];
}

export class FakeManager implements AsyncDisposable {
  readonly folder: TestFolder = new TestFolder();
  readonly socket: string = join(this.folder.path, "broker.sock");
  /** Every message so far, one string each. */
  readonly messages: string[] = [];
  readonly store: { readonly name: string; readonly handle: FdHandle }[] = [];
  log: Logged[] = [];
  child: ChildProcess | undefined;
  wrap: readonly string[];
  /** While true, messages wait in the queue. */
  readonly #options: FakeManagerOptions;
  readonly #notify: FdHandle;
  readonly #poll: Poll;
  readonly #waiting = new Set<() => void>();
  #exited: Promise<unknown> = Promise.resolve();

  constructor(options: FakeManagerOptions = {}) {
    this.#options = options;
    this.wrap = options.wrap ?? [];
    this.#notify = boundSocket(`unix-dgram://${join(this.folder.path, "notify")}`);
    this.#poll = new native.Poll(this.#notify.fd, () => this.#receive());
    this.#poll.start(READABLE);
  }

  config(name: string, text: string): void {
    this.folder.write({ [`config/${name}`]: text });
  }

  get names(): string[] {
    return this.store.map(({ name }) => name).sort();
  }

  /** Starts the service with what is stored; resolves when it says that it is ready. */
  async start(extra: readonly string[] = []): Promise<void> {
    const seen = this.messages.length;
    this.launch(extra);
    await this.until(() => this.messages.slice(seen).some((message) => message.startsWith("READY=1")));
  }

  launch(extra: readonly string[] = []): void {
    const { units = [], max, env = {} } = this.#options;
    const passed = [...units, ...this.store];
    const variables = `LISTEN_PID=$$ LISTEN_FDS=${passed.length} LISTEN_FDNAMES='${passed.map(({ name }) => name).join(":")}'`;
    const command = [
      ...this.wrap,
      process.execPath,
      join(packageRoot, "dist/cli/berthd.js"),
      ...["--config", join(this.folder.path, "config"), "--socket", this.socket, "--log-format", "json"],
      ...extra,
    ];
    const [first = "", ...rest] = endsWithTest;
    this.child = spawn(
      first,
      [...rest, "sh", "-c", `${passed.length > 0 ? variables : ""} exec "$@"`, "sh", ...command],
      {
        stdio: ["ignore", "inherit", "pipe", ...passed.map(({ handle }) => handle.fd)],
        env: {
          ...process.env,
          NOTIFY_SOCKET: join(this.folder.path, "notify"),
          ...(max !== undefined && { FDSTORE: String(max) }),
          ...env,
        },
      },
    );
    this.#exited = once(this.child, "close");
    if (this.child.stderr === null) throw new Error("no stderr");
    this.log = [];
    const { log } = this;
    createInterface(this.child.stderr).on("line", (line) => {
      log.push((line.startsWith("{") ? JSON.parse(line) : { level: "error", message: line }) as Logged);
      this.#changed();
    });
    void this.#exited.then(() => this.#changed());
  }

  /** Ends the service by a signal, and resolves when it is gone and all it said was heard. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.child?.kill(signal);
    await this.#exited;
    this.#receive();
  }

  exited(): Promise<unknown> {
    return this.#exited;
  }

  /** Resolves when something that was said or logged makes it true; rejects when the service has exited before. */
  async until(test: () => boolean): Promise<void> {
    while (!test()) {
      if (this.child?.exitCode !== null || this.child.signalCode !== null) {
        await this.#exited;
        this.#receive();
        if (test()) return;
        throw new Error(`the broker exited:\n${this.log.map(({ message }) => message).join("\n")}`);
      }
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    this.#poll.close();
    this.#notify.close();
    for (const { handle } of [...this.store, ...(this.#options.units ?? [])]) handle.close();
    this.folder[Symbol.dispose]();
  }

  #changed(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #receive(): void {
    const data = Buffer.alloc(8192);
    const received = new Int32Array(RECEIVED_LENGTH);
    for (;;) {
      const size = native.recvmsg(this.#notify.fd, data, 0, received);
      if (size < 0) break;
      const handles = Array.from(received.subarray(2, 2 + (received[0] ?? 0)), (fd) => FdHandle.adopt(fd));
      this.#heard(data.toString("utf8", 0, size), handles);
    }
    this.#changed();
  }

  #heard(message: string, handles: readonly FdHandle[]): void {
    const fields = new Map(message.split("\n").map((line) => line.split("=", 2) as [string, string]));
    const name = fields.get("FDNAME") ?? "";
    if (fields.get("FDSTORE") === "1") {
      for (const handle of handles) {
        const file = readlinkSync(`/proc/self/fd/${handle.fd}`);
        const twice =
          file.startsWith("socket:") &&
          this.store.some((entry) => readlinkSync(`/proc/self/fd/${entry.handle.fd}`) === file);
        if (twice || this.store.length >= (this.#options.max ?? 0)) handle.close();
        else this.store.push({ name, handle });
      }
      return;
    }
    for (const handle of handles) handle.close();
    if (fields.get("FDSTOREREMOVE") === "1") {
      for (const entry of this.store.filter((stored) => stored.name === name)) {
        entry.handle.close();
        this.store.splice(this.store.indexOf(entry), 1);
      }
    } else this.messages.push(message);
  }
}
