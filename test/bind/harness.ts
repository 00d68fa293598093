/** Servers under bind delivery for the tests of this folder: fixtures compiled once, run through the real launcher. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, cpSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { packageRoot } from "../../src/native.ts";
import type { BrokerProcess, TestFolder } from "../support/broker.ts";
import { compileC } from "../support/compile.ts";
import { settledFds } from "../support/fds.ts";

export const launcher: string = process.env["BERTH_LAUNCH"] ?? join(packageRoot, "build/Release/berth-launch");
export const fixtures: string = join(packageRoot, "test/fixtures/bind");
export const NOBODY = 65534;

/** Compiles a fixture into the folder; returns the program's path. */
export function compile(folder: TestFolder, source: string, flags: readonly string[] = [], name = "program"): string {
  return compileC(join(fixtures, source), join(folder.path, name), flags);
}

/** A folder with a file of the fixtures in it, for everybody to read. */
export function copyFixture(folder: TestFolder, name: string): string {
  const path = join(folder.path, name);
  cpSync(join(fixtures, name), path);
  chmodSync(path, 0o644);
  return path;
}

/** The configuration of a berth whose server runs as nobody with bind delivery. */
export function berth(listen: Readonly<Record<string, readonly string[]>>, server = "", socket = ""): string {
  const sockets = Object.entries(listen).map(
    ([name, list]) => `[sockets.${name}]\nlisten = ${JSON.stringify(list)}\n${socket}\n`,
  );
  return `${sockets.join("")}[server]\nuser = "nobody"\ndeliver = ["bind"]\n${server}\n`;
}

/** A program that was started, and what it has said. */
export class Server implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #ended = false;
  stdout = "";
  stderr = "";
  readonly #watchers = new Set<() => void>();

  constructor(command: string, args: readonly string[], options: { uid?: number; gid?: number; cwd?: string } = {}) {
    this.child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
    this.child.stdin?.on("error", () => undefined); // it may end before it has read
    this.child.stdout?.setEncoding("utf8").on("data", (part: string) => this.#tell(() => (this.stdout += part)));
    this.child.stderr?.setEncoding("utf8").on("data", (part: string) => this.#tell(() => (this.stderr += part)));
    this.#closed = once(this.child, "close").then(() => this.#tell(() => (this.#ended = true)));
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get lines(): string[] {
    return this.stdout.split("\n").slice(0, -1);
  }

  /** Resolves when `test` holds of what it has said; rejects when it ends without. */
  async until(test: (server: this) => boolean): Promise<void> {
    while (!test(this)) {
      if (this.#ended) throw new Error(`the server ended (${this.child.exitCode}):\n${this.stdout}${this.stderr}`);
      await new Promise<void>((resolve) => {
        this.#watchers.add(resolve);
      });
    }
  }

  /** Waits for so many lines on stdout. */
  async said(lines: number): Promise<string[]> {
    await this.until((server) => server.lines.length >= lines);
    return this.lines;
  }

  /** Waits for its end; its lines. */
  async ended(): Promise<string[]> {
    await this.#closed;
    return this.lines;
  }

  /** SIGKILL, and waits. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #tell(change: () => void): void {
    change();
    for (const watcher of [...this.#watchers]) watcher();
    this.#watchers.clear();
  }
}

/** Runs a command as the server of a berth. */
export function run(
  broker: Pick<BrokerProcess, "socket">,
  name: string,
  command: readonly string[],
  options: { uid?: number; gid?: number; cwd?: string } = {},
): Server {
  return new Server(launcher, ["--socket", broker.socket, name, "--", ...command], options);
}

/** Runs a command to its end; its lines. */
export async function linesOf(broker: BrokerProcess, name: string, command: readonly string[]): Promise<string[]> {
  await using server = run(broker, name, command);
  return await server.ended();
}

/** Inodes of the sockets a process has open. */
export function socketsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(join(folder, fd)))?.[1] ?? [];
    } catch {
      return []; // closed meanwhile
    }
  });
}

/** Inodes of the sockets bound to a port, as the kernel lists them (proc_net(5)). */
export function inodesAt(protocol: "udp" | "tcp" | "udp6" | "tcp6", port: number): string[] {
  const rows = readFileSync(`/proc/net/${protocol}`, "utf8").trimEnd().split("\n").slice(1);
  const columns = rows.map((row) => row.trim().split(/\s+/));
  // 0A is listening, 07 an unconnected datagram socket: a connection that was accepted is not meant.
  const bound = columns.filter(([, , , state = ""]) => state === "0A" || state === "07");
  const here = bound.filter(([, local = ""]) => Number.parseInt(local.split(":").at(-1) ?? "", 16) === port);
  return here.map((row) => row[9] ?? "").filter((inode) => inode !== "0");
}

/** The processes that read for a broker what its servers ask for. */
export function readersOf(broker: number): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter(
      (pid) => pid > 0 && /^Name:\tberth-reader$[\s\S]*^PPid:\t(\d+)$/m.exec(statusOf(pid))?.[1] === String(broker),
    );
}

export function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return ""; // it has ended
  }
}

/** Threads of a process, and its descriptors without what they are. */
export function footprint(pid: number): { threads: number; fds: number } {
  return { threads: readdirSync(`/proc/${pid}/task`).length, fds: readdirSync(`/proc/${pid}/fd`).length };
}

/** The same of a process that has just started, when it has all that it starts with. */
export async function settledFootprint(pid: number): Promise<{ threads: number; fds: number }> {
  await settledFds(pid);
  return footprint(pid);
}

/** Waits, for 30 s at most, until `value` gives what is wanted; returns what it gave last. */
export async function eventually<T>(value: () => T, wanted: T): Promise<T> {
  const deadline = performance.now() + 30_000;
  let now = value();
  while (JSON.stringify(now) !== JSON.stringify(wanted) && performance.now() < deadline) {
    await pause(1);
    now = value();
  }
  return now;
}

/** A player: one UDP socket, that asks again every 50 ms until it is answered. */
export class Player implements Disposable {
  readonly #port: number;
  readonly #host: string;
  readonly #socket: Socket;

  constructor(port: number, host = "127.0.0.1") {
    this.#port = port;
    this.#host = host;
    this.#socket = createSocket(host.includes(":") ? "udp6" : "udp4");
    this.#socket.on("error", () => undefined); // ECONNREFUSED: nobody has the port (yet)
  }

  /** The first answer that satisfies `test`. Rejects after 30 s. */
  async ask(question: Uint8Array | string, test: (answer: Buffer) => boolean = () => true): Promise<Buffer> {
    const ask = (): void => this.#socket.send(question, this.#port, this.#host);
    const again = setInterval(ask, 50);
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        const late = (): void => reject(new Error(`nobody answered on UDP ${this.#host} ${this.#port}`));
        setTimeout(late, 30_000).unref();
        this.#socket.on("message", (message) => test(message) && resolve(message));
        ask();
      });
    } finally {
      clearInterval(again);
      this.#socket.removeAllListeners("message");
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** One question of one player. */
export async function askUdp(port: number, question: Uint8Array | string, host?: string): Promise<Buffer> {
  using player = new Player(port, host);
  return await player.ask(question);
}

/** Connects by TCP, says something, and returns all that comes until `enough` or the end. */
export async function askTcp(
  port: number,
  question: string,
  enough: (answer: string) => boolean = () => false,
  host = "127.0.0.1",
): Promise<string> {
  const socket = connect(port, host);
  socket.write(question);
  let answer = "";
  for await (const part of socket.setEncoding("latin1")) {
    answer += part;
    if (enough(answer)) break;
  }
  socket.destroy();
  return answer;
}
