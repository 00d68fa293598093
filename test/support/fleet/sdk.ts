/** A broker with one berth for a server of Agones, the SDK beside it, and that server with the official client. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Sdk } from "../../../packages/fleet/src/sdk/sdk.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { packageRoot } from "../../../src/native.ts";
import { startBroker, type TestBroker } from "../broker.ts";
import type { Needs } from "../needs.ts";
import { freePort } from "../ports.ts";
import { Watcher } from "../watcher.ts";

const PACKAGE = "@google-cloud/agones-sdk";

/** For tests with the official client: a development dependency of packages/fleet. */
export function needsClient(): Needs {
  try {
    createRequire(import.meta.url).resolve(PACKAGE);
    return {};
  } catch {
    return { skip: true, meta: { needs: `needs ${PACKAGE}: npm install` } };
  }
}

export interface SdkScene extends AsyncDisposable {
  readonly test: TestBroker;
  readonly watcher: Watcher;
  readonly grpc: number;
  readonly http: number;
  readonly log: readonly string[];
  /** Resolves once a line of the SDK's log matches. */
  logged(line: RegExp): Promise<void>;
  /** Ends the SDK. */
  endSdk(): Promise<void>;
  /** Ends it and starts another one. */
  restartSdk(): Promise<void>;
}

/** The SDK in this process. `server` is more of the `[server]` section. */
export async function startSdk(server = "", more = ""): Promise<SdkScene> {
  const [game, grpc, http] = [await freePort(), await freePort(), await freePort()];
  const test = await startBroker({
    "arena.toml": `[sockets.game]
listen = ["udp://127.0.0.1:${game}"]
${more}[server]
sdk = "agones"
sdk-grpc-port = ${grpc}
sdk-http-port = ${http}
${server}`,
  });
  const log: string[] = [];
  const waiting = new Set<() => void>();
  const begin = (): Sdk => {
    const started = new Sdk({
      socket: test.socket,
      address: "game.example.org",
      log: (line) => {
        log.push(line);
        for (const look of waiting) look();
      },
    });
    started.start();
    return started;
  };
  let sdk = begin();
  const logged = (line: RegExp): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!log.some((one) => line.test(one))) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  await logged(/serves gRPC/);
  const restartSdk = async (): Promise<void> => {
    await sdk.close();
    log.length = 0;
    sdk = begin();
    await logged(/serves gRPC/);
  };
  const watcher = await Watcher.connect(test.socket, 1);
  const dispose = async (): Promise<void> => {
    await watcher[Symbol.asyncDispose]();
    await sdk.close();
    await test[Symbol.asyncDispose]();
  };
  return {
    test,
    watcher,
    grpc,
    http,
    log,
    logged,
    endSdk: () => sdk.close(),
    restartSdk,
    [Symbol.asyncDispose]: dispose,
  };
}

export interface AgonesServer extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown[]>;
  /** Calls a method of the official client: `beta.incrementCounter`. Rejects with gRPC's code in the message. */
  call(name: string, ...args: readonly unknown[]): Promise<unknown>;
  /** The states that its watch has told, until this one comes. */
  watchedUntil(state: string): Promise<readonly string[]>;
}

interface Line {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly details: string };
  readonly watched?: { readonly status: { readonly state: string } } | null;
}

/** Starts it by berth-launch, as the user of this process. */
export async function launchServer({ test, watcher }: Pick<SdkScene, "test" | "watcher">): Promise<AgonesServer> {
  const from = watcher.events.length;
  const program = join(packageRoot, "test/fixtures/agones/server.cjs");
  const child = spawn(launcherPath(), ["--socket", test.socket, "arena", "--", process.execPath, program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  await watcher.until(({ event }) => event === "acquired", from);
  const calls = new Map<number, (line: Line) => void>();
  const states: string[] = [];
  const looks = new Set<() => void>();
  let id = 0;
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (text) => {
      const line: Line & { readonly connected?: boolean } = JSON.parse(text);
      if (line.connected === true) resolve();
      else if (line.connected === false) reject(new Error(text));
      else if (line.watched !== undefined) {
        states.push(line.watched?.status.state ?? "closed");
        for (const look of looks) look();
      } else calls.get(line.id ?? -1)?.(line);
    });
    child.once("exit", () => reject(new Error("the server has ended before it was connected")));
  });
  return {
    child,
    ended,
    call: (name, ...args) =>
      new Promise((resolve, reject) => {
        const number = id++;
        calls.set(number, ({ result, error }) => {
          calls.delete(number);
          if (error === undefined) resolve(result);
          else reject(new Error(`${error.code}: ${error.details}`));
        });
        child.stdin.write(`${JSON.stringify({ id: number, call: name, args })}\n`);
      }),
    watchedUntil: (state) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!states.includes(state)) return;
          looks.delete(look);
          resolve(states);
        };
        looks.add(look);
        look();
      }),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
