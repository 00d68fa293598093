/** Archives in chunks between the stores of two agents: what is sent, who gets it, and what a wrong store can do. */
import { createHash, pbkdf2 } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, createServer, get, request, type Server } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Archive, ChunkStore, fetchArchive, storeServer } from "../../../packages/fleet/src/store/index.ts";
import { networkOf } from "../../../packages/fleet/src/store/network.ts";
import { TestFolder } from "../../support/broker.ts";
import { Certificates } from "../../support/fleet/certificates.ts";
import { pieces, randomBytes } from "../../support/fleet/world.ts";
import { needs } from "../../support/needs.ts";

const MIB = 1024 * 1024;
const never = new AbortController().signal;

it.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::6", "2001:db8:1:2"],
  ["2001:db8::6", "2001:db8:0:0"],
  ["2001:db8::3:4:5:6", "2001:db8:0:0"],
  ["fe80::1%lo", "fe80:0:0:0"],
  ["::1", "0:0:0:0"],
  ["", ""],
])("a store counts the connections of %s as those of %s", (address, network) => {
  expect(networkOf(address)).toBe(network);
});

describe("stores of agents", { ...needs("casync", "openssl"), timeout: 60_000 }, () => {
  let certificates: Certificates;
  let strange: Certificates;
  let folder: TestFolder;
  let here: ChunkStore;
  let there: ChunkStore;
  let server: Server;
  let address: string;
  let said: string[];

  beforeAll(() => {
    certificates = new Certificates("h1", "h2", "h3");
    strange = new Certificates("h1", "h2");
  });
  afterAll(() => {
    certificates[Symbol.dispose]();
    strange[Symbol.dispose]();
  });
  beforeEach(async () => {
    folder = new TestFolder();
    here = new ChunkStore(join(folder.path, "here"), 64 * MIB);
    there = new ChunkStore(join(folder.path, "there"), 64 * MIB);
    said = [];
    server = storeServer(there, certificates.tls("h1"), (sentence) => said.push(sentence));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    address = `127.0.0.1:${portOf(server)}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
    folder[Symbol.dispose]();
  });

  const fetched = (archive: Archive, host = "h1", tls = certificates.tls("h2")) =>
    fetchArchive(archive, { host, store: address }, here, tls, { signal: never, progress: () => undefined });
  const contentOf = async (store: ChunkStore, { name }: Archive): Promise<Buffer> => {
    const found: Buffer[] = [];
    await using content = await store.read(name, never);
    for await (const piece of content) found.push(piece);
    return Buffer.concat(found);
  };
  const chunksOf = (store: string): string[] =>
    readdirSync(join(folder.path, store), { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".cacnk"),
    );

  it("of an archive that has changed in one place only the changed chunks are sent, also where bytes were added", async () => {
    const world = randomBytes(1, 16 * MIB);
    const first = await there.add("berth-a-1", pieces(world), never);
    const all = await fetched(first);
    expect(all.bytes).toBeGreaterThan(16 * MIB);
    expect((await contentOf(here, first)).equals(world)).toBe(true);

    const changed = Buffer.concat([world.subarray(0, 5 * MIB), randomBytes(2, 123_457), world.subarray(5 * MIB)]);
    const second = await there.add("berth-a-1", pieces(changed), never);
    const some = await fetched(second);
    expect(some.bytes).toBeGreaterThan(123_457);
    expect(some.bytes).toBeLessThan(MIB);
    expect((await contentOf(here, second)).equals(changed)).toBe(true);
    // Nothing is sent twice but the index.
    expect(await fetched(second)).toEqual({ bytes: expect.any(Number), chunks: 0 });
  });

  it("an empty archive is one, too", async () => {
    const archive = await there.add("berth-a-1", pieces(Buffer.alloc(0)), never);
    expect(archive.bytes).toBe(0);
    await fetched(archive);
    expect((await contentOf(here, archive)).equals(Buffer.alloc(0))).toBe(true);
  });

  it("only agents of the fleet read a store, and only from the host that they mean", async () => {
    const archive = await there.add("berth-a-1", pieces(randomBytes(3, MIB)), never);
    const code = (found: Promise<unknown>) =>
      found.then(
        () => "fetched",
        (error) => `${error.code}: ${error.message}`,
      );
    expect(await code(fetched(archive, "h1", { ...strange.tls("h2"), ca: certificates.tls("h2").ca }))).toContain(
      "STORE_UNREACHABLE",
    );
    expect(await code(fetched(archive, "h1", strange.tls("h2")))).toContain("STORE_UNREACHABLE");
    expect(await code(fetched(archive, "h3"))).toContain('its certificate is that of "h1", not of h3');
    expect(chunksOf("here")).toEqual([]);
    // All hosts share a certificate: then it is that of the other one as well.
    expect(await code(fetched(archive, "h3", certificates.tls("h1")))).toBe("fetched");
  });

  it("a store gives its chunks and indexes, and no other file; it takes nothing", async () => {
    const archive = await there.add("berth-a-1", pieces(randomBytes(4, MIB)), never);
    writeFileSync(join(folder.path, "there", "secret"), "secret");
    const status = async (path: string, method = "GET"): Promise<number | undefined> => {
      const asked = request(`https://${address}`, {
        ...certificates.tls("h2"),
        ...{ path, method, agent: false, checkServerIdentity: () => undefined },
      });
      asked.end();
      const [response] = await once(asked, "response");
      response.resume();
      return response.statusCode;
    };
    const [chunk = ""] = (await there.index(archive.name)).chunks;
    expect(await status(`/indexes/${archive.name}`)).toBe(200);
    expect(await status(`/chunks/${chunk}`)).toBe(200);
    for (const path of [
      ...["/", "/secret", "/../secret", "/chunks/../secret", "/chunks/..%2fsecret", "/indexes/../../secret"],
      ...["/indexes", "/indexes/", "/chunks", `/chunks/${chunk.slice(1)}`, `/chunks/${"0".repeat(64)}`],
      ...[`/indexes/${archive.name}/x`, "/indexes/berth-a-1", `/work/${archive.name}`],
    ])
      expect([path, await status(path)]).toEqual([path, 404]);
    expect(await status(`/chunks/${chunk}`, "PUT")).toBe(405);
    expect(await status(`/chunks/${chunk}`, "DELETE")).toBe(405);
  });

  it("one address has at most 40 connections, and the others are closed", async () => {
    const open = Array.from({ length: 60 }, () => connect(portOf(server), "127.0.0.1"));
    for (const socket of open) socket.on("error", () => undefined);
    await expect.poll(() => open.filter((socket) => socket.closed || socket.destroyed).length).toBe(20);
    for (const socket of open) socket.destroy();
    // They have gone, so an agent gets in again.
    const archive = await there.add("berth-a-1", pieces(randomBytes(5, MIB)), never);
    await expect
      .poll(() =>
        fetched(archive).then(
          ({ chunks }) => chunks > 0,
          () => false,
        ),
      )
      .toBe(true);
  });

  it("an accept that fails ends no agent, and is told", async () => {
    server.emit("error", new Error("accept ENOMEM"));
    expect(said).toEqual(["the store has no connection: accept ENOMEM"]);
    const archive = await there.add("berth-a-1", pieces(randomBytes(5, MIB)), never);
    expect((await fetched(archive)).chunks).toBeGreaterThan(0);
  });

  it("a client that sends requests without reading the answers is cut off", async () => {
    const socket = connectTls({
      ...certificates.tls("h2"),
      port: portOf(server),
      checkServerIdentity: () => undefined,
    });
    socket.on("error", () => undefined);
    await once(socket, "secureConnect");
    const closed = once(socket, "close");
    const archive = await there.add("berth-a-1", pieces(randomBytes(6, MIB)), never);
    socket.write(`GET /indexes/${archive.name} HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(50));
    await closed;
  });

  it("a client that asks again as soon as it has a file keeps its connection, however busy the host is", async () => {
    const archive = await there.add("berth-a-1", pieces(randomBytes(4, 16 * 1024)), never);
    const agent = new Agent({ ...certificates.tls("h2"), checkServerIdentity: () => undefined, keepAlive: true });
    const ports = new Set<number | undefined>();
    // The server reads files in threads that have something else to do.
    let isBusy = true;
    const hash = promisify(pbkdf2);
    const works = Array.from({ length: 8 }, async () => {
      while (isBusy) await hash("", "", 20_000, 32, "sha256");
    });
    try {
      for (let at = 0; at < 10; at++) {
        const asked = get(`https://${address}/indexes/${archive.name}`, { agent });
        const [response] = await once(asked, "response");
        ports.add(asked.socket?.localPort);
        expect(await buffer(response)).toEqual(readFileSync(there.indexPath(archive.name)));
      }
    } finally {
      isBusy = false;
      await Promise.all(works);
      agent.destroy();
    }
    expect(ports.size).toBe(1);
  });

  it("a chunk that is not what its name says is noticed, and another fetch gets it anew", async () => {
    const world = randomBytes(7, 2 * MIB);
    const archive = await there.add("berth-a-1", pieces(world), never);
    const [chunk = ""] = (await there.index(archive.name)).chunks;
    await fetched(archive);
    const other = chunksOf("here").find((file) => !file.includes(chunk)) ?? "";
    copyFileSync(join(folder.path, "here", other), here.fetchedPath(chunk));
    await expect(contentOf(here, archive)).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    expect(chunksOf("here")).toEqual([]);
    await fetched(archive);
    expect((await contentOf(here, archive)).equals(world)).toBe(true);
  });

  it("a chunk that another host has sent is in no archive that is made here, and no third host gets it", async () => {
    const world = randomBytes(12, MIB);
    const archive = await there.add("berth-a-1", pieces(world), never);
    const { chunks } = await there.index(archive.name);
    const [chunk = ""] = chunks;
    rmSync(there.chunkPath(chunk)); // casync makes chunks read-only
    writeFileSync(there.chunkPath(chunk), "poison");
    await fetched(archive);
    // This host gets a berth with the same bytes, and archives it.
    const own = await here.add("berth-b-1", pieces(world), never);
    expect((await here.index(own.name)).chunks).toEqual(chunks);
    expect((await contentOf(here, own)).equals(world)).toBe(true);
    expect(existsSync(here.chunkPath(chunk))).toBe(true);
    // What is there twice goes, and what was made here stays.
    await here.prune();
    expect(chunksOf("here").length).toBe(chunks.size);
    expect((await contentOf(here, own)).equals(world)).toBe(true);
  });

  it("a disk that has failed once breaks nothing", async () => {
    const world = randomBytes(13, MIB);
    const stray = join(folder.path, "there/chunks/stray");
    writeFileSync(stray, "no folder");
    await expect(there.prune()).rejects.toMatchObject({ code: "ENOTDIR" });
    const archive = await there.add("berth-a-1", pieces(world), never);
    expect((await contentOf(there, archive)).equals(world)).toBe(true);
    rmSync(stray);
    await there.prune();
    expect((await contentOf(there, archive)).equals(world)).toBe(true);
  });

  it("an archive that is being read is not removed, and one that is gone says so", async () => {
    const world = randomBytes(14, 4 * MIB);
    const archive = await there.add("berth-a-1", pieces(world), never);
    // Two newer ones of the berth, so that the next time it goes.
    for (const seed of [15, 16]) await there.add("berth-a-1", pieces(randomBytes(seed, MIB)), never);
    const reading = contentOf(there, archive);
    await there.prune();
    expect(existsSync(there.indexPath(archive.name))).toBe(true);
    expect((await reading).equals(world)).toBe(true);
    await there.prune();
    await expect(contentOf(there, archive)).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
  });

  it("a host cannot replace another archive, or leave one that looks whole", async () => {
    const own = await here.add("berth-b-1", pieces(randomBytes(21, MIB)), never);
    const kept = await here.add("berth-c-1", pieces(randomBytes(22, MIB)), never);
    const strange = madeUp("berth-a-1", 4, 16 * 1024);
    const all = async (missing: readonly string[]) => missing.length;
    await expect(here.take({ ...strange, name: own.name }, strange.index, all)).rejects.toThrow(
      `there is another archive ${own.name}`,
    );
    expect((await contentOf(here, own)).equals(randomBytes(21, MIB))).toBe(true);
    // One that consists of chunks of our own archive, and of one that is wrong.
    const index = readFileSync(here.indexPath(own.name));
    index[index.length - 41] = (index[index.length - 41] ?? 0) ^ 1; // the last digest
    const mixed = { ...own, name: strange.name, sha256: createHash("sha256").update(index).digest("hex") };
    const put = here.take(mixed, index, async (missing, take) => {
      for (const chunk of missing) await take(chunk, Buffer.from("poison"));
    });
    await put;
    await expect(contentOf(here, mixed)).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    expect(await here.has(mixed.name)).toBe(false);
    // Its chunks may be wrong: so it is made again, and not offered without them.
    expect(await here.has(own.name)).toBe(false);
    expect((await contentOf(here, kept)).equals(randomBytes(22, MIB))).toBe(true);
  });

  it("a host that sends a byte now and then keeps nobody waiting", async () => {
    const archive = await there.add("berth-a-1", pieces(randomBytes(24, MIB)), never);
    const slow = createServer({ ...certificates.tls("h1"), requestCert: true }, (_, response) => {
      response.writeHead(200, { "content-length": 64 });
      const timer = setInterval(() => response.write("x"), 20);
      response.once("close", () => clearInterval(timer));
    });
    slow.listen(0, "127.0.0.1");
    await once(slow, "listening");
    const source = { host: "h1", store: `127.0.0.1:${portOf(slow)}` };
    const options = { signal: never, progress: () => undefined, pace: { idleMs: 200, bytesPerSecond: 1024 * 1024 } };
    try {
      await expect(fetchArchive(archive, source, here, certificates.tls("h2"), options)).rejects.toThrow(
        `cannot fetch from the store of h1, ${source.store}: it is too slow`,
      );
    } finally {
      slow.closeAllConnections();
      slow.close();
    }
  });

  it("transfers that fail again and again leave no more than a store may have", async () => {
    const small = new ChunkStore(join(folder.path, "small"), MIB);
    const attempt = async (seed: number): Promise<void> => {
      const archive = madeUp("berth-a-1", 6, 16 * 1024, seed);
      await small.take(archive, archive.index, async (missing, put) => {
        for (const chunk of missing) await put(chunk, Buffer.alloc(100_000));
        throw new Error("it has gone");
      });
    };
    for (let times = 0; times < 5; times++) {
      await expect(attempt(times)).rejects.toThrow("it has gone");
      expect(chunksOf("small").length).toBeGreaterThan(5);
    }
    expect(chunksOf("small").length).toBeLessThan(12);
    await small.prune();
    expect(chunksOf("small")).toEqual([]);
    const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
    const archive = madeUp("berth-a-1", 2, 16 * 1024);
    const filling = small.take(archive, archive.index, async ([first = ""], put) => {
      await put(first, Buffer.alloc(10));
      throw full;
    });
    await expect(filling).rejects.toBe(full);
    expect(chunksOf("small")).toEqual([]);
    expect(readdirSync(join(folder.path, "small", "work"))).toEqual([]);
  });

  it("two transfers may bring the same chunk at the same time", async () => {
    const world = randomBytes(23, 2 * MIB);
    const one = await there.add("image-a@1", pieces(world), never);
    const other = await there.add("image-a@2", pieces(world), never);
    await Promise.all([fetched(one), fetched(other), fetched(one)]);
    for (const archive of [one, other]) expect((await contentOf(here, archive)).equals(world)).toBe(true);
    expect(readdirSync(join(folder.path, "here", "work"))).toEqual([]);
  });

  it("an index that is not the announced one, or is none, is refused", async () => {
    const archive = await there.add("berth-a-1", pieces(randomBytes(8, MIB)), never);
    const other = await there.add("berth-a-1", pieces(randomBytes(9, MIB)), never);
    await expect(fetched({ ...archive, sha256: other.sha256 })).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    writeFileSync(there.indexPath(archive.name), "no index");
    await expect(there.index(archive.name)).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    await expect(fetched(archive)).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    expect(chunksOf("here")).toEqual([]);
  });

  it("an archive that is larger than a store, or a stream that breaks, leaves no archive", async () => {
    const small = new ChunkStore(join(folder.path, "small"), MIB);
    const archive = await there.add("berth-a-1", pieces(randomBytes(10, 2 * MIB)), never);
    await expect(small.add("berth-a-1", pieces(randomBytes(10, 2 * MIB)), never)).rejects.toMatchObject({
      code: "STORE_FULL",
    });
    const into = { signal: never, progress: () => undefined };
    const source = { host: "h1", store: address };
    await expect(fetchArchive(archive, source, small, certificates.tls("h2"), into)).rejects.toMatchObject({
      code: "STORE_FULL",
    });
    async function* broken(): AsyncGenerator<Buffer, void, void> {
      yield randomBytes(11, MIB / 2);
      throw new Error("the stream has broken");
    }
    await expect(small.add("berth-a-1", broken(), never)).rejects.toThrow("the stream has broken");
    await small.prune();
    expect(readdirSync(join(folder.path, "small", "indexes"))).toEqual([]);
    expect(chunksOf("small")).toEqual([]);
  });

  it("a host whose index does not say how large its chunks are cannot fill the disk of another one", async () => {
    const small = new ChunkStore(join(folder.path, "small"), MIB);
    const archive = madeUp("berth-a-1", 4, 16 * 1024);
    writeFileSync(there.indexPath(archive.name), archive.index);
    for (const chunk of archive.chunks) {
      mkdirSync(dirname(there.chunkPath(chunk)), { recursive: true });
      writeFileSync(there.chunkPath(chunk), Buffer.alloc(MIB / 2));
    }
    const into = { signal: never, progress: () => undefined };
    const source = { host: "h1", store: address };
    await expect(fetchArchive(archive, source, small, certificates.tls("h2"), into)).rejects.toMatchObject({
      code: "STORE_FULL",
    });
    expect(chunksOf("small").length).toBeLessThan(3);
  });

  it("an index with more or other bytes than its host has announced, or tiny chunks, is refused", async () => {
    const take = (archive: ReturnType<typeof madeUp>, bytes = archive.bytes) =>
      here.take({ ...archive, bytes }, archive.index, async (missing) => missing.length);
    expect(await take(madeUp("berth-a-1", 4, 16 * 1024))).toBe(4);
    await expect(take(madeUp("berth-a-1", 4, 16 * 1024), 1024)).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    await expect(take(madeUp("berth-a-1", 1000, 1))).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    // Nor is such an index read to its end.
    const long = madeUp("berth-a-1", 1000, 1);
    writeFileSync(there.indexPath(long.name), long.index);
    await expect(fetched(long)).rejects.toThrow("a file has more than 144 bytes");
  });

  it("keeps two archives of a berth, and the newest of all that have room", async () => {
    const store = new ChunkStore(join(folder.path, "there"), 5.5 * MIB);
    for (const seed of [1, 2, 3]) await store.add("berth-a-1", pieces(randomBytes(seed, MIB)), never);
    await store.prune();
    const names = () => readdirSync(join(folder.path, "there", "indexes")).map((file) => file.split(".")[0]);
    expect(names()).toEqual(["berth-a-1", "berth-a-1"]);
    const last = await store.add("berth-b-1", pieces(randomBytes(4, 4 * MIB)), never);
    await store.prune();
    expect(names().sort()).toEqual(["berth-a-1", "berth-b-1"]);
    expect((await contentOf(store, last)).equals(randomBytes(4, 4 * MIB))).toBe(true);
    // A chunk of no archive, as a transfer that was ended leaves it, goes.
    const before = chunksOf("there").length;
    writeFileSync(`${join(folder.path, "there", chunksOf("there")[0] ?? "")}.tmp`, "half");
    await store.prune();
    expect(chunksOf("there").length).toBe(before);
  });
});

/** An archive that casync has not made: so many chunks of so many bytes each. */
function madeUp(
  subject: string,
  count: number,
  length: number,
  seed = 0,
): Archive & { index: Buffer; chunks: string[] } {
  const chunks = Array.from({ length: count }, (_, at) => createHash("sha256").update(`${seed} ${at}`).digest("hex"));
  const index = Buffer.alloc(64 + 40 * (count + 1));
  index.writeBigUInt64LE(48n, 0);
  index.writeBigUInt64LE(0x96824d9c7b129ff9n, 8);
  index.writeBigUInt64LE(0xe75b9e112f17417dn, 56);
  for (const [at, chunk] of chunks.entries()) {
    index.writeBigUInt64LE(BigInt((at + 1) * length), 64 + 40 * at);
    index.write(chunk, 64 + 40 * at + 8, "hex");
  }
  index.writeBigUInt64LE(0x4b4f050e5549ecd1n, index.length - 8);
  const sha256 = createHash("sha256").update(index).digest("hex");
  return { name: `${subject}.${"0".repeat(32)}`, sha256, bytes: count * length, index, chunks };
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" ? (address?.port ?? 0) : 0;
}
