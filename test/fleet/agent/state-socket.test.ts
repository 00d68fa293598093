/** What an agent does when the program behind its --state-socket refuses, breaks off, or sends nonsense. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StateSocket } from "../../../packages/fleet/src/agent/copies/state-socket.ts";
import { TestFolder } from "../../support/broker.ts";
import { randomBytes } from "../../support/fleet/world.ts";

describe("the client of a state socket", () => {
  let folder: TestFolder;
  let server: Server;
  let serve: (socket: Socket) => void;
  let client: StateSocket;
  const sockets = new Set<Socket>();
  const never = new AbortController().signal;

  beforeEach(async () => {
    folder = new TestFolder();
    server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
      serve(socket);
    });
    server.listen(join(folder.path, "state.sock"));
    await once(server, "listening");
    client = new StateSocket(join(folder.path, "state.sock"));
  });
  afterEach(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
    await once(server, "close");
    folder[Symbol.dispose]();
  });

  const save = { method: "Save", berth: "a-1", live: true } as const;
  const restore = { method: "Restore", berth: "a-1" } as const;
  const download = async (signal = never): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    for await (const piece of client.download(save, signal)) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  async function* content(): AsyncGenerator<Buffer, void, void> {
    for (let count = 0; count < 64; count++) yield randomBytes(1, 1024 * 1024);
  }
  const frame = (bytes: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const OK = '{"ok":true}\n';
  /** Sends this once the request has come, and closes. */
  const answering = (...parts: (Buffer | string)[]) => {
    serve = (socket) => void socket.once("data", () => socket.end(Buffer.concat(parts.map((one) => Buffer.from(one)))));
  };

  it("reads frames that come in any pieces", async () => {
    const bytes = randomBytes(2, 70_000);
    const all = Buffer.concat([Buffer.from(OK), frame(bytes), frame(bytes), frame(Buffer.alloc(0)), Buffer.from(OK)]);
    serve = (socket) =>
      void socket.once("data", () => {
        for (let at = 0; at < all.length; at += 7_919) socket.write(all.subarray(at, at + 7_919));
        socket.end();
      });
    expect((await download()).equals(Buffer.concat([bytes, bytes]))).toBe(true);
  });

  for (const [what, parts, message] of [
    ["refuses", ['{"ok":false,"error":"there is no berth a-1"}\n'], "there is no berth a-1"],
    ["fails in the middle", [OK, frame(Buffer.from("x")), Buffer.alloc(4), '{"ok":false,"error":"torn"}\n'], "torn"],
    ["breaks off", [OK, frame(Buffer.from("x"))], "closed the connection"],
    ["breaks off in a frame", [OK, frame(Buffer.alloc(9)).subarray(0, 8)], "closed the connection"],
    ["sends a frame without end", [OK, Buffer.alloc(4, 255)], "a frame has 4294967295 bytes"],
    ["sends more than it has announced", [OK, Buffer.alloc(4), OK, "more"], "more than it has announced"],
    ["sends no JSON", ["hello\n"], "its answer is none: hello"],
    ["sends a line without end", [Buffer.alloc(200_000, 65)], "too long"],
    ["closes at once", [], "closed the connection"],
  ] as const)
    it(`notices a program that ${what}`, async () => {
      answering(...parts);
      await expect(download()).rejects.toMatchObject({
        code: "STATE_REFUSED",
        message: expect.stringContaining(message),
      });
    });

  it("takes an image for missing only if the program says so, and one that is there for imported", async () => {
    answering('{"ok":false,"error":"there is no image tree@1","code":"IMAGE_ABSENT"}\n');
    expect(await client.hasImage("tree", "1", never)).toBe(false);
    answering(OK);
    expect(await client.hasImage("tree", "1", never)).toBe(true);
    answering('{"ok":false,"error":"the disk is broken","code":"REFUSED"}\n');
    await expect(client.hasImage("tree", "1", never)).rejects.toThrow("the disk is broken");
    answering('{"ok":false,"error":"tree@1 exists","code":"IMAGE_IN_USE"}\n');
    const image = { method: "ImportImage", image: "tree", version: "1" } as const;
    await client.upload(image, content(), never);
    await expect(client.upload(restore, content(), never)).rejects.toThrow("tree@1 exists");
  });

  it("says why an upload was refused, also before all of it was sent", async () => {
    serve = (socket) => void socket.once("data", () => socket.end('{"ok":false,"error":"a server runs"}\n'));
    await expect(client.upload(restore, content(), never)).rejects.toThrow("a server runs");
    // It reads nothing, and does not close either.
    serve = (socket) =>
      void socket.once("data", () => socket.pause().write('{"ok":false,"error":"the disk is full"}\n'));
    await expect(client.upload(restore, content(), never)).rejects.toThrow("the disk is full");
  });

  it("sends an upload of any length to a slow reader, and waits for its answer", async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on("warning", warned);
    let length = 0;
    serve = (socket) =>
      void socket.on("data", (piece) => {
        length += piece.length;
        if (piece.subarray(-4).equals(Buffer.alloc(4))) socket.end(OK);
      });
    await client.upload(restore, content(), never);
    process.off("warning", warned);
    expect(length).toBe(64 * (1024 * 1024 + 4) + 4 + JSON.stringify(restore).length + 1);
    expect(warnings).toEqual([]);
  });

  it("ends an upload whose content breaks without its last frame", async () => {
    const received: Buffer[] = [];
    serve = (socket) => void socket.on("data", (piece) => received.push(piece));
    async function* broken(): AsyncGenerator<Buffer, void, void> {
      yield Buffer.from("half");
      throw new Error("the archive has broken");
    }
    await expect(client.upload(restore, broken(), never)).rejects.toThrow("the archive has broken");
    await expect.poll(() => sockets.size).toBe(0);
    expect(Buffer.concat(received).toString()).toBe(`${JSON.stringify(restore)}\n\0\0\0\x04half`);
  });

  it("ends with its signal, and closes the connection", async () => {
    const stop = new AbortController();
    serve = (socket) => void socket.once("data", () => stop.abort(new Error("stopped")));
    await expect(download(stop.signal)).rejects.toThrow("stopped");
    await expect.poll(() => sockets.size).toBe(0);
  });

  it("names a socket that nobody listens on", async () => {
    const other = new StateSocket(join(folder.path, "none.sock"));
    await expect(other.hasImage("tree", "1", never)).rejects.toThrow(/cannot connect to .*none\.sock: ENOENT/);
  });
});
