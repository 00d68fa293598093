/** The built CLI (`npm run build:ts`) as a process of its own, and a broker that says whatever a test wants. */
import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { type ConfigFiles, TestFolder } from "../support/broker.ts";
import { pathOf } from "../support/needs.ts";

export const cli: string = join(packageRoot, "dist/berth/berth.cjs");

/** Two instances of a template, and a plain berth that has a server; ports are whatever is free. */
export const berths: ConfigFiles = {
  "arena@.toml": '[sockets.game]\nlisten = ["udp://127.0.0.1:0", "udp://[::1]:0"]\n',
  "arena@alice.toml": "",
  "arena@bob.toml": "",
  "lobby.toml": `[sockets.web]\nlisten = ["tcp://127.0.0.1:0"]\n[server]\ncommand = ["sleep", "1000"]\n${
    process.geteuid?.() === 0 ? 'user = "nobody"\n' : ""
  }`,
};

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `berth` with nothing in its environment but PATH, HOME and what is given. */
export function start(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): ChildProcessByStdio<null, Readable, Readable> {
  const { PATH, HOME } = process.env;
  return spawn(process.execPath, [cli, ...args], { env: { PATH, HOME, ...env }, stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs `berth` to its end. */
export async function berth(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = start(args, env);
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: await stdout, stderr: await stderr };
}

async function text(stream: Readable): Promise<string> {
  let whole = "";
  for await (const chunk of stream.setEncoding("utf8")) whole += chunk;
  return whole;
}

/** Runs `berth` where nothing is in /run/systemd. */
export async function withoutSystemd(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  onStart: (child: ChildProcess) => void = () => undefined,
): Promise<Ended> {
  const hide = '[ ! -d /run/systemd ] || mount -t tmpfs none /run/systemd; exec "$@"';
  const words = ["--mount", "sh", "-c", hide, "sh", process.execPath, cli, ...args];
  const { PATH, HOME } = process.env;
  const child = spawn(pathOf("unshare"), words, { env: { PATH, HOME, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  onStart(child);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (part) => {
    stdout += part;
  });
  child.stderr.on("data", (part) => {
    stderr += part;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** As {@link endServers}, when the test ends, also when it fails. */
export function endServersWithTest(socket: string): void {
  onTestFinished(() => endServers(socket));
}

/** Kills each process with this BERTHD_SOCKET: servers, and writers of logs. */
export async function endServers(socket: string): Promise<void> {
  const mark = `BERTHD_SOCKET=${socket}`;
  const isMarked = (pid: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(mark);
    } catch {
      // It has ended, or is another user's.
      return false;
    }
  };
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const left = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && isMarked(name));
    if (left.length === 0) return;
    for (const pid of left) killIfThere(Number(pid));
    await pause(20);
  }
  throw new Error(`a process with ${mark} does not end`);
}

const MOST_LOOKS = 500;

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/** Lines as they come. */
export class Lines {
  readonly #interface: Interface;
  readonly #iterator: AsyncIterator<string>;

  constructor(stream: Readable) {
    this.#interface = createInterface(stream);
    this.#iterator = this.#interface[Symbol.asyncIterator]();
  }

  /** The next line for which `test` holds; throws when there is none before the end. */
  async find(test: (line: string) => boolean): Promise<string> {
    for (;;) {
      const { value, done } = await this.#iterator.next();
      if (done) throw new Error("the output ended before the line that was waited for");
      if (test(value)) return value;
    }
  }
}

/** A service that answers GetInfo, and the first call of something else with replies that a test gives. */
export interface FakeBroker extends AsyncDisposable {
  readonly socket: string;
}

/** Listens on a path in a folder of its own; after the replies it closes the connection if `thenCloses`. */
export async function fakeBroker(replies: readonly unknown[], thenCloses = false): Promise<FakeBroker> {
  const folder = new TestFolder();
  const socket = join(folder.path, "broker.sock");
  const server = createServer((client) => {
    client.on("error", () => client.destroy());
    client.setEncoding("utf8");
    client.on("data", (calls: string) => {
      const isInfo = calls.includes('"org.varlink.service.GetInfo"');
      for (const reply of isInfo ? [{ parameters: {} }] : replies) client.write(`${JSON.stringify(reply)}\0`);
      if (thenCloses && !isInfo) client.end();
    });
  }).listen(socket);
  await once(server, "listening");
  const dispose = async (): Promise<void> => {
    server.close();
    folder[Symbol.dispose]();
  };
  return { socket, [Symbol.asyncDispose]: dispose };
}

/** The file of a template: each instance runs what the image `arena` has as /run. */
export const imageTemplate: string = `[sockets.game]
listen = ["udp://127.0.0.1:0"]
[root]
image = "arena"
[server]
user = "nobody"
command = ["sh", "{root}/run"]
`;
