/** Brokers for tests: in this process (peers then have this process's pid), or the built daemon in one of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { Broker } from "../../src/broker/broker.ts";
import type { BrokerOptions } from "../../src/broker/broker-options.ts";
import type { Fields, Level } from "../../src/log.ts";
import { packageRoot } from "../../src/native.ts";
import { temporaryFolder } from "./folders.ts";
import { endsWithTest } from "./wrap.ts";

/** File names below a configuration folder, and their text. */
export type ConfigFiles = Readonly<Record<string, string>>;

/** A folder of the test's own that everybody may enter; removed with `using`. */
export class TestFolder implements Disposable {
  readonly path: string = temporaryFolder();

  constructor(files: ConfigFiles = {}) {
    chmodSync(this.path, 0o755);
    this.write(files);
  }

  write(files: ConfigFiles): void {
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.path, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  }

  [Symbol.dispose](): void {
    // A process that a test has just killed may still make a file.
    rmSync(this.path, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** One line of a log. */
export interface Logged extends Fields {
  readonly level: Level;
  readonly message: string;
}

export interface TestBroker extends AsyncDisposable {
  readonly broker: Broker;
  readonly socket: string;
  readonly folder: TestFolder;
  readonly log: readonly Logged[];
}

/** A broker in this process with the given configuration files. */
export async function startBroker(files: ConfigFiles, options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  const folder = new TestFolder();
  folder.write(Object.fromEntries(Object.entries(files).map(([name, text]) => [join("config", name), text])));
  const socket = join(folder.path, "broker.sock");
  const log: Logged[] = [];
  try {
    const broker = await Broker.start({
      config: [join(folder.path, "config")],
      socket,
      log: (level, message, fields) => log.push({ ...fields, level, message }),
      ...options,
    });
    const dispose = async (): Promise<void> => {
      await broker.close();
      folder[Symbol.dispose]();
    };
    return { broker, socket, folder, log, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    folder[Symbol.dispose]();
    throw error;
  }
}

export interface BrokerProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly socket: string;
  readonly folder: TestFolder;
  /** Lines of its JSON log so far. */
  readonly log: readonly Logged[];
  /** Resolves with the first line, past or to come, that satisfies the test; rejects when the broker has exited. */
  logged(test: (line: Logged) => boolean): Promise<Logged>;
  /** Resolves when it has exited; its bind fallback for binds may have its standard error still. */
  readonly exited: Promise<unknown>;
  /** Resolves when all it said was read as well. */
  readonly closed: Promise<void>;
}

/**
 * Whether somebody listens: a path is there from bind(2) on, before that. The broker has closed the connection by then.
 */
function accepts(path: string): Promise<boolean> {
  const connection = connect(path).resume().end();
  connection.on("error", () => undefined);
  return new Promise((resolve) => connection.on("close", (failed) => resolve(!failed)));
}

/**
 * The built daemon (`npm run build:ts`) with the given configuration files, ready. `wrap` goes in front of its command
 * line, as `limitedTo(64)`.
 */
export async function spawnBroker(
  files: ConfigFiles,
  extra: readonly string[] = [],
  wrap: readonly string[] = [],
): Promise<BrokerProcess> {
  const folder = new TestFolder();
  mkdirSync(join(folder.path, "config"));
  folder.write(Object.fromEntries(Object.entries(files).map(([name, text]) => [join("config", name), text])));
  const broker = launchBroker(folder, extra, wrap);
  const dispose = async (): Promise<void> => {
    await broker[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  };
  try {
    // A broker told to log less does not say that it is ready: then it is when it answers.
    if (!extra.includes("--log-level")) await broker.logged(isReady);
    else while (!(await accepts(broker.socket)) && broker.child.exitCode === null) await setTimeout(10);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { ...broker, [Symbol.asyncDispose]: dispose };
}

/** What a broker logs when it serves. */
export const isReady = ({ event }: Logged): boolean => event === "ready";

/** Begins to start the daemon in a folder that may have had another one before. */
export function launchBroker(
  folder: TestFolder,
  extra: readonly string[] = [],
  wrap: readonly string[] = [],
): BrokerProcess {
  const socket = join(folder.path, "broker.sock");
  const [command = "", ...args] = [
    ...endsWithTest,
    ...wrap,
    process.execPath,
    join(packageRoot, "dist/cli/berthd.js"),
    ...["--config", join(folder.path, "config"), "--socket", socket, "--log-format", "json"],
    ...extra,
  ];
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "pipe"] });
  const log: Logged[] = [];
  const watchers = new Set<(line: Logged | undefined) => void>();
  let ended = false;
  if (child.stderr === null) throw new Error("no stderr");
  createInterface(child.stderr).on("line", (line) => {
    const entry = (line.startsWith("{") ? JSON.parse(line) : { level: "error", message: line }) as Logged;
    log.push(entry);
    for (const watcher of watchers) watcher(entry);
  });
  const exited = once(child, "exit");
  const closed = once(child, "close").then(() => {
    ended = true;
    for (const watcher of watchers) watcher(undefined);
  });
  const logged = (test: (line: Logged) => boolean): Promise<Logged> => {
    const known = log.find(test);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const watcher = (line: Logged | undefined): void => {
        if (line !== undefined && !test(line)) return;
        watchers.delete(watcher);
        if (line !== undefined) resolve(line);
        else reject(new Error(`the broker exited:\n${log.map(({ message }) => message).join("\n")}`));
      };
      if (ended) watcher(undefined);
      else watchers.add(watcher);
    });
  };
  const dispose = async (): Promise<void> => {
    child.kill("SIGKILL");
    await closed;
  };
  return { child, pid: child.pid ?? -1, socket, folder, log, logged, exited, closed, [Symbol.asyncDispose]: dispose };
}
