/**
 * Stands in for the root program behind an agent's `--state-socket`: it speaks the same protocol, and keeps files of
 * berths as `STATE/roots/BERTH/upper`, and images as plain files. Calls are noted, and can be held up or refused.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, createWriteStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { acquire, BerthError } from "../../../src/index.ts";
import { TestFolder } from "../broker.ts";
import type { TestHost } from "./host.ts";

type HostFiles = Pick<TestHost, "socket" | "stateFile">;

const SHIFT = `
import os, sys
tree, base = sys.argv[1], int(sys.argv[2])
for folder, _, names in os.walk(tree):
    for path in [folder] + [os.path.join(folder, name) for name in names]:
        status = os.lstat(path)
        os.lchown(path, status.st_uid % 65536 + base, status.st_gid % 65536 + base)
`;

interface Call {
  readonly method: string;
  readonly berth?: string;
  readonly live?: boolean;
  readonly image?: string;
  readonly version?: string;
}

export class StateStandIn implements AsyncDisposable {
  readonly #folder = new TestFolder({ "images/.keep": "", "work/.keep": "" });
  readonly #host: () => HostFiles;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** As `Save live a-1`. */
  readonly calls: string[] = [];
  /** What it answers to ListImages. Undefined: as a program that does not know that. */
  listed: readonly { name: string; version: string; digest: string; bytes: number }[] | undefined;
  /** Resolves when a call may go on; rejects with why it is refused. */
  before: (call: string) => Promise<void> = async () => undefined;

  private constructor(host: () => HostFiles) {
    this.#host = host;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined).once("close", () => this.#sockets.delete(socket));
      this.#serve(socket).catch((error: unknown) => {
        const code = error instanceof BerthError ? error.code : "REFUSED";
        const why = error instanceof Error ? error.message : String(error);
        socket.end(`${JSON.stringify({ ok: false, error: why, code })}\n`);
      });
    });
  }

  /** `host`: whose broker has the berths. */
  static async start(host: () => HostFiles): Promise<StateStandIn> {
    const stand = new StateStandIn(host);
    stand.#server.listen(stand.socket);
    await once(stand.#server, "listening");
    return stand;
  }

  get socket(): string {
    return join(this.#folder.path, "state.sock");
  }

  imageFile(image: string, version: string): string {
    return join(this.#folder.path, "images", `${image}@${version}`);
  }

  async #serve(socket: Socket): Promise<void> {
    const reader = new Frames(socket);
    const call: Call = JSON.parse(await reader.line());
    const { method, berth = "", live, image = "", version = "" } = call;
    if (method === "ListImages") return await this.#list(socket);
    const name = `${method}${live === undefined ? "" : live ? " live" : " last"} ${berth}${image}`;
    this.calls.push(name);
    await this.before(name);
    if (method === "Save") return await this.#save(socket, berth);
    const work = join(this.#folder.path, "work", `${Date.now()}-${this.calls.length}`);
    if (method === "ExportImage") {
      if (!existsSync(this.imageFile(image, version)))
        throw new BerthError("IMAGE_ABSENT", `there is no image ${image}@${version}`);
      return await send(socket, createReadStream(this.imageFile(image, version)));
    }
    try {
      await pipeline(reader.frames(), createWriteStream(work));
      if (method === "Restore") await this.#restore(work, berth);
      else renameSync(work, this.imageFile(image, version));
    } finally {
      rmSync(work, { force: true });
    }
    socket.end(`${JSON.stringify({ ok: true })}\n`);
  }

  async #list(socket: Socket): Promise<void> {
    if (this.listed === undefined) throw new Error("there is no method ListImages");
    const list = { folder: join(this.#folder.path, "images"), room: 2 ** 40, images: this.listed };
    await send(socket, Readable.from([Buffer.from(JSON.stringify(list))]));
  }

  async #save(socket: Socket, berth: string): Promise<void> {
    const folder = this.#host().stateFile("roots", berth);
    const tar = spawn("tar", ["-c", "--numeric-owner", "--xattrs", "--sort=name", "-C", folder, "upper"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    await send(socket, tar.stdout);
  }

  async #restore(file: string, berth: string): Promise<void> {
    const folder = this.#host().stateFile("roots", berth);
    const beside = join(folder, "beside");
    mkdirSync(beside, { recursive: true, mode: 0o700 });
    try {
      const tar = spawn("tar", ["-x", "-f", file, "--numeric-owner", "--xattrs", "-C", beside], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      const said = buffer(tar.stderr);
      const [code] = await once(tar, "close");
      if (code !== 0) throw new Error(`tar: ${await said}`);
      // As of berth restore: nothing else has the berth meanwhile, and the files get ids of its range.
      await using _ = await acquire(berth, { socket: this.#host().socket });
      execFileSync("python3", ["-c", SHIFT, join(beside, "upper"), String(this.#rangeOf(berth))]);
      rmSync(join(folder, "upper"), { recursive: true, force: true });
      renameSync(join(beside, "upper"), join(folder, "upper"));
    } finally {
      rmSync(beside, { recursive: true, force: true });
    }
  }

  #rangeOf(berth: string): number {
    const text = readFileSync(this.#host().stateFile("ranges", "ranges.json"), "utf8");
    const { ranges }: { ranges: { owner: string; base: number }[] } = JSON.parse(text);
    const found = ranges.find(({ owner }) => owner === berth);
    if (found === undefined) throw new Error(`${berth} has no range`);
    return found.base;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, "close");
    this.#folder[Symbol.dispose]();
  }
}

async function send(socket: Socket, content: AsyncIterable<Buffer>): Promise<void> {
  socket.write(`${JSON.stringify({ ok: true })}\n`);
  let bytes = 0;
  const write = async (piece: Buffer): Promise<void> => {
    if (socket.destroyed) throw new Error("the caller has gone");
    if (socket.write(piece)) return;
    const over = new AbortController();
    const events = ["drain", "close"].map((event) => once(socket, event, { signal: over.signal }));
    await Promise.race(events).finally(() => over.abort());
  };
  for await (const piece of content) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(piece.length);
    await write(length);
    await write(piece);
    bytes += piece.length;
  }
  await write(Buffer.alloc(4));
  socket.end(`${JSON.stringify({ ok: true, bytes })}\n`);
}

class Frames {
  readonly #pieces: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#pieces = socket[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    for (let end = -1; ; ) {
      end = this.#rest.indexOf(0x0a);
      if (end >= 0) return this.#take(end + 1).toString();
      await this.#more();
    }
  }

  async *frames(): AsyncGenerator<Buffer, void, void> {
    for (;;) {
      while (this.#rest.length < 4) await this.#more();
      const length = this.#take(4).readUInt32BE(0);
      if (length === 0) return;
      while (this.#rest.length < length) await this.#more();
      yield this.#take(length);
    }
  }

  #take(length: number): Buffer {
    const piece = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return piece;
  }

  async #more(): Promise<void> {
    const { value, done } = await this.#pieces.next();
    if (done) throw new Error("the caller has gone");
    this.#rest = Buffer.concat([this.#rest, value]);
  }
}
