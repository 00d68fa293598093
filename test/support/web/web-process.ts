/** The built `berth-web` (`npm run build:web`) as a process, and requests to it as a stranger would write them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type IncomingHttpHeaders, type RequestOptions, request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { packageRoot } from "../../../src/native.ts";
import { freePort } from "../ports.ts";
import { endsWithTest } from "../wrap.ts";

const program = join(packageRoot, "packages/web/dist/server/main.js");

export interface WebProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly port: number;
  readonly base: string;
  /** What it has written so far. */
  log(): string;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Starts it on a port of its own, and waits until it listens. If another program took the port, it takes the next. */
export async function startWeb(socket: string, args: readonly string[] = []): Promise<WebProcess> {
  for (let tries = 3; ; tries--) {
    try {
      return await startAt(await freePort(), socket, args);
    } catch (error) {
      if (tries === 1 || !String(error).includes("EADDRINUSE")) throw error;
    }
  }
}

async function startAt(port: number, socket: string, args: readonly string[]): Promise<WebProcess> {
  const [command = "", ...rest] = [...endsWithTest, process.execPath, program];
  const child = spawn(command, [...rest, "--listen", `127.0.0.1:${port}`, "--socket", socket, ...args], {
    stdio: ["ignore", "inherit", "pipe"],
  });
  let log = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on("data", (chunk) => {
      log += chunk;
      if (log.includes("listening on")) resolve();
    });
    child.once("close", () => reject(new Error(`berth-web has ended:\n${log}`)));
  });
  const dispose = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  };
  return { child, port, base: `http://127.0.0.1:${port}`, log: () => log, [Symbol.asyncDispose]: dispose };
}

/** Runs it to its end. */
export async function runWeb(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const both = Promise.all([text(child.stdout), text(child.stderr)]);
  await once(child, "close");
  const [out, err] = await both;
  return { code: child.exitCode, out, err };
}

/** One request; the path is sent as it is. */
export async function ask(web: { readonly port: number }, path: string, options: RequestOptions = {}): Promise<Reply> {
  const sent = request({ host: "127.0.0.1", port: web.port, path, agent: false, ...options });
  sent.end();
  const [response] = await once(sent, "response");
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

/** One request whose answer is JSON. */
export async function askJson<T>(web: { readonly port: number }, path: string): Promise<T> {
  const { status, body } = await ask(web, path);
  if (status !== 200) throw new Error(`${path}: ${status} ${body}`);
  return JSON.parse(body);
}
