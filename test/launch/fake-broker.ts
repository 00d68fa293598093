/**
 * A scripted broker for the launcher's tests: one listening socket, and for each call that arrives the answer the test
 * asked for. It knows nothing of berths.
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { check } from "../../src/errors.ts";
import type { Plan } from "../../src/launch/plan.ts";
import { encodePlan } from "../../src/launch/plan-encode.ts";
import { native, type Poll, packageRoot, READABLE, RECEIVED_LENGTH } from "../../src/native.ts";
import { temporaryFolder } from "../support/folders.ts";
import { isRoot } from "../support/needs.ts";

export const launcher: string = process.env["BERTH_LAUNCH"] ?? join(packageRoot, "build/Release/berth-launch");
const AF_UNIX = 1;
const SOCK_STREAM = 1;

/** F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE (fcntl(2)). */
export const SEALED: number = 1 | 2 | 4 | 8;

/** What to send: text and descriptors, which are closed when the test ends; or nothing; or an end of the connection. */
export type Answer = { readonly text: string; readonly fds: readonly number[] } | "silence" | "close";

export class FakeBroker implements Disposable {
  readonly folder: string = temporaryFolder("berth-launch-");
  readonly path: string = join(this.folder, "broker");
  /** Every call that arrived, parsed. */
  readonly calls: unknown[] = [];
  answer: Answer = "close";
  readonly #open = new Set<number>();
  readonly #polls = new Set<Poll>();

  constructor() {
    const listener = this.own(check("socket", native.socket(AF_UNIX, SOCK_STREAM, 0)));
    const address = Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), Buffer.from(`${this.path}\0`)]);
    check("bind", native.bind(listener, address), this.path);
    check("listen", native.listen(listener, 16), this.path);
    this.#watch(listener, () => this.#converse(this.own(check("accept", native.accept(listener)))));
  }

  /** Closes `fd` when the test ends. */
  own(fd: number): number {
    this.#open.add(fd);
    return fd;
  }

  /** A memfd that holds `bytes`, named `name`, with `seals`. */
  memfd(name: string, bytes: Uint8Array = Buffer.alloc(0), seals = 0): number {
    const fd = this.own(check("memfd_create", native.memfd(name)));
    writeSync(fd, bytes);
    if (seals !== 0) check("fcntl", native.addSeals(fd, seals));
    return fd;
  }

  /** Answers from now on with these bytes as the plan, and a memfd of its own name for each of `names`. */
  offer(plan: Uint8Array, names: readonly string[] = [], seals: number = SEALED): void {
    this.#release();
    const fds = [this.memfd("plan", plan, seals), ...names.map((name) => this.memfd(name))];
    this.answer = { text: JSON.stringify({ parameters: { lease: "1", plan: 0 } }), fds };
  }

  /** Answers from now on with this plan and these descriptors, which are the broker's from now on. */
  offerFds(plan: Uint8Array, fds: readonly number[]): void {
    this.#release();
    for (const fd of fds) this.own(fd);
    this.answer = {
      text: JSON.stringify({ parameters: { lease: "1", plan: 0 } }),
      fds: [this.memfd("plan", plan, SEALED), ...fds],
    };
  }

  [Symbol.dispose](): void {
    for (const poll of this.#polls) poll.close();
    for (const fd of this.#open) native.close(fd);
    rmSync(this.folder, { recursive: true });
  }

  #release(): void {
    if (typeof this.answer === "string") return;
    for (const fd of this.answer.fds) {
      native.close(fd);
      this.#open.delete(fd);
    }
  }

  #watch(fd: number, ready: (poll: Poll) => void): void {
    const poll = new native.Poll(fd, () => ready(poll));
    this.#polls.add(poll);
    check("poll", poll.start(READABLE));
  }

  #converse(connection: number): void {
    const data = Buffer.alloc(1 << 21);
    const received = new Int32Array(RECEIVED_LENGTH);
    let length = 0;
    this.#watch(connection, (poll) => {
      const taken = native.recvmsg(connection, data, length, received);
      length += Math.max(taken, 0);
      if (taken > 0 && data[length - 1] !== 0) return;
      if (taken > 0) {
        this.calls.push(JSON.parse(data.toString("utf8", 0, length - 1)));
        if (this.answer === "silence") return;
        if (this.answer !== "close") {
          const text = Buffer.from(`${this.answer.text}\0`);
          check(
            "sendmsg",
            native.sendmsg(connection, text, 0, Int32Array.from(this.answer.fds), this.answer.fds.length),
          );
        }
      }
      poll.close();
      this.#polls.delete(poll);
      this.#open.delete(connection);
      native.close(connection);
    });
  }
}

/** How a process ended and what it said. `pid` is the one that was started. */
export interface Outcome {
  readonly pid: number | undefined;
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Start {
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: Record<string, string>;
  /** In a session of its own, which has no terminal. */
  readonly detached?: boolean;
}

/** Runs a command to its end. */
export function run(command: readonly [string, ...string[]], start: Start = {}): Promise<Outcome> {
  return runWith(command, [], start);
}

/** Runs a command to its end, with these descriptors from 3 upward. */
export async function runWith(
  command: readonly [string, ...string[]],
  fds: readonly number[],
  start: Start = {},
): Promise<Outcome> {
  const stdio: StdioOptions = ["ignore", "pipe", "pipe", ...fds];
  const child: ChildProcess = spawn(command[0], command.slice(1), { stdio, ...start });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (part: string) => (stdout += part));
  child.stderr?.setEncoding("utf8").on("data", (part: string) => (stderr += part));
  return await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ pid: child.pid, code, signal, stdout, stderr }));
  });
}

/** Runs the launcher against `broker` with these options and arguments. */
export function launch(broker: FakeBroker, args: readonly string[] = ["arena"], start?: Start): Promise<Outcome> {
  return run([launcher, "--socket", broker.path, ...args], start);
}

/** The overflow user, which every system has (proc_sys_kernel(5)). */
export const nobody: NonNullable<Plan["user"]> = { uid: 65534, gid: 65534, groups: [] };

/** A plan that runs `argv`, as nobody if we are root, with what else a test needs. */
export function planOf(argv: readonly string[], more: Partial<Plan> = {}): Plan {
  return {
    lease: "1",
    argv,
    inheritEnvironment: false,
    environment: {},
    listenFds: true,
    reportBinds: false,
    fds: [],
    ...(isRoot ? { user: nobody } : {}),
    capabilities: [],
    limits: [],
    umask: 0o022,
    ...more,
  };
}

/** The plan's bytes; a plan that a test means to be good. */
export function encode(plan: Plan): Buffer {
  const bytes = encodePlan(plan);
  if (typeof bytes === "string") throw new Error(bytes);
  return bytes;
}

/** A field of /proc/PID/status. */
export function statusIn(status: string, field: string): string | undefined {
  return new RegExp(`^${field}:\\s*(.*)$`, "m").exec(status)?.[1];
}

/** One sentence on stderr, as the launcher ends with. */
export const sentence: RegExp = /^berth-launch: [^\n]+\n$/;
