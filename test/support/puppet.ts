/** A peer in a process of its own, which does what a test tells it: test/fixtures/puppet.py. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { packageRoot } from "../../src/native.ts";

export const fixtures: string = join(packageRoot, "test/fixtures");

/** A reply of the broker as it came. */
export interface RawReply {
  readonly error?: string;
  readonly continues?: boolean;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** Who a puppet becomes before it connects. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

export class Puppet implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #lines: AsyncIterableIterator<string>;

  private constructor(child: ChildProcess) {
    if (child.stdout === null || child.pid === undefined) throw new Error("python3 could not be started");
    this.pid = child.pid;
    this.#child = child;
    this.#exited = once(child, "exit");
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  }

  /** A puppet connected to the broker (`b` in its code), as another user if so wished (needs root). */
  static async connect(socket: string, user?: User): Promise<Puppet> {
    const args = ["-u", "-S", join(fixtures, "puppet.py")];
    const puppet = new Puppet(spawn("python3", args, { stdio: ["pipe", "pipe", "inherit"] }));
    if (user !== undefined) {
      const { uid, gid, groups = [] } = user;
      await puppet.do(`os.setgroups(${JSON.stringify(groups)}); os.setgid(${gid}); os.setuid(${uid})`);
    }
    await puppet.do(`b = Broker(${JSON.stringify(socket)})`);
    return puppet;
  }

  /** Runs Python in it and returns what that left in `result`. */
  async do(code: string): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(code)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the puppet died of: ${code}`);
    const { result, error } = JSON.parse(value) as { result?: unknown; error?: string };
    if (error !== undefined) throw new Error(error);
    return result;
  }

  /** Calls a method of io.berthd.Broker. `fds` is Python: a list of descriptors. */
  async call(method: string, parameters: object = {}, fds = "[]"): Promise<RawReply> {
    const quoted = JSON.stringify(JSON.stringify(parameters));
    return (await this.do(`result = b.call("${method}", json.loads(${quoted}), ${fds})`)) as RawReply;
  }

  /** Takes a berth; the lease's id. Its descriptors are in `b.fds`, the first ones of this call at `b.fds[-n:]`. */
  async acquire(berth: string, replace: "no" | "try" | "must" = "no"): Promise<string> {
    const { error, parameters } = await this.call("Acquire", { berth, replace });
    if (error !== undefined) throw new Error(`${error} ${JSON.stringify(parameters)}`);
    return String(parameters["lease"]);
  }

  /** Resolves when it has been reaped. */
  get exited(): Promise<unknown> {
    return this.#exited;
  }

  /** SIGKILL; resolves when it has been reaped. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
