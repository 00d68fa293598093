/** `berth serve-state` as systemd runs it, one process for each connection, and what an agent sends to it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { packageRoot } from "../../../src/native.ts";

/** One request: its process, and what it has said. */
export interface Served {
  readonly child: ChildProcess;
  /** Resolves with its exit status and its standard error. */
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
}

/** Listens on a path, and starts `berth serve-state` with these options for each connection. */
export class StateService implements AsyncDisposable {
  readonly path: string;
  readonly served: Served[] = [];
  readonly #server: Server;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  static async start(path: string, options: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<StateService> {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    const service = new StateService(path, server);
    server.on("connection", (connection) => service.#serve(connection, options, env));
    server.listen(path);
    await once(server, "listening");
    return service;
  }

  /** The process of the last request. */
  get last(): Served {
    const last = this.served.at(-1);
    if (last === undefined) throw new Error("nothing was asked yet");
    return last;
  }

  #serve(connection: Socket, options: readonly string[], env: NodeJS.ProcessEnv): void {
    const words = [join(packageRoot, "dist/berth/berth.cjs"), "serve-state", ...options];
    const { PATH, HOME } = process.env;
    const stdio = [connection, "ignore", "pipe"] as const;
    const child = spawn(process.execPath, words, { env: { PATH, HOME, ...env }, stdio: [...stdio] });
    connection.destroy();
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const ended = once(child, "close").then(([code]) => ({ code: code as number | null, stderr }));
    this.served.push({ child, ended });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const { child } of this.served) child.kill("SIGKILL");
    await Promise.all(this.served.map(({ ended }) => ended));
    rmSync(this.path, { force: true });
  }
}

export interface Answer {
  /** The lines, in their order. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  /** The frames of a download together. */
  readonly bytes: Buffer;
}

/** A request to an open connection, with the frames of an upload. */
export function request(fields: Readonly<Record<string, unknown>>, upload?: readonly Buffer[]): Buffer {
  const line = Buffer.from(`${JSON.stringify(fields)}\n`);
  return Buffer.concat([line, ...(upload === undefined ? [] : [...upload, Buffer.alloc(0)].flatMap(frame))]);
}

function frame(bytes: Buffer): Buffer[] {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return [head, bytes];
}

/** Sends a request, all of it before it reads. Resolves when the service has closed the connection. */
export async function ask(
  path: string,
  fields: Readonly<Record<string, unknown>>,
  upload?: readonly Buffer[],
): Promise<Answer> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.end(request(fields, upload));
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  return answerOf(Buffer.concat(parts));
}

/** Takes apart what came: a line, and for a download frames and another line. */
export function answerOf(all: Buffer): Answer {
  const lines: Record<string, unknown>[] = [];
  let rest = all;
  const line = (): void => {
    const end = rest.indexOf("\n");
    lines.push(JSON.parse(rest.toString("utf8", 0, end)));
    rest = rest.subarray(end + 1);
  };
  line();
  const bytes: Buffer[] = [];
  while (rest.length > 0) {
    const length = rest.readUInt32BE();
    bytes.push(rest.subarray(4, 4 + length));
    rest = rest.subarray(4 + length);
    if (length === 0) {
      line();
      break;
    }
  }
  return { lines, bytes: Buffer.concat(bytes) };
}
