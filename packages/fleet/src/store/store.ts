/**
 * A folder of archives in chunks. An archive is what a berth has written, or an image. What two archives have in
 * common is there once. `FOLDER/chunks` is as casync(1) has it, and so is `FOLDER/fetched`, with the chunks that other
 * hosts have sent: nothing has compared those with their names yet. casync does when it makes a file of them, but not
 * when it cuts one. So what is cut here, and what other hosts get, consists of own chunks only. To compare a chunk when
 * it comes, it would have to be decompressed: Node 20 knows no zstd, and gzip takes casync twice the time.
 *
 * No other program may write to the folder.
 */
import { createHash, randomBytes } from "node:crypto";
import { createWriteStream, mkdirSync, rmSync } from "node:fs";
import { access, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join as path } from "node:path";
import { pipeline } from "node:stream/promises";
import { Fault } from "../fault.ts";
import { cut, join } from "./casync.ts";
import { Content } from "./content.ts";
import { type ArchiveIndex, longestIndex, readIndex } from "./index-file.ts";

/** An archive, as another host finds it. Nobody can guess the name. */
export interface Archive {
  /** SUBJECT.RANDOM */
  readonly name: string;
  /** Of the index, which has the digests of all chunks. */
  readonly sha256: string;
  /** Of the archive. */
  readonly bytes: number;
}

const NAME = /^([A-Za-z0-9][A-Za-z0-9_.@-]{0,199})\.[0-9a-f]{32}$/;
const CHUNK = /^[0-9a-f]{64}$/;
/** Archives of one subject that are kept: the next one has most of its chunks. */
const KEPT = 2;
const ROOMS = ["chunks", "fetched"] as const;
type Room = (typeof ROOMS)[number];

export function isArchiveName(name: string): boolean {
  return NAME.test(name);
}

export function isChunkName(name: string): boolean {
  return CHUNK.test(name);
}

export class ChunkStore {
  readonly #folder: string;
  readonly #mostBytes: number;
  /** Transfers that add chunks which no index has yet, and readers. */
  #users = 0;
  #pruning: Promise<void> = Promise.resolve();

  /** Makes the folder if it is not there. `mostBytes`: of all chunks together. */
  constructor(folder: string, mostBytes: number) {
    this.#folder = folder;
    this.#mostBytes = mostBytes;
    // What a killed agent has left.
    rmSync(path(folder, "work"), { recursive: true, force: true });
    for (const room of ["", "chunks", "fetched", "indexes", "work"])
      mkdirSync(path(folder, room), { recursive: true, mode: 0o700 });
  }

  /** Of a chunk that was made here. */
  chunkPath(chunk: string): string {
    return this.#pathIn("chunks", chunk);
  }

  /** Of a chunk that another host has sent. */
  fetchedPath(chunk: string): string {
    return this.#pathIn("fetched", chunk);
  }

  #pathIn(room: Room, chunk: string): string {
    return path(this.#folder, room, chunk.slice(0, 4), `${chunk}.cacnk`);
  }

  indexPath(name: string): string {
    return path(this.#folder, "indexes", `${name}.caibx`);
  }

  /** Whether the archive was not removed since. */
  async has(name: string): Promise<boolean> {
    return await exists(this.indexPath(name));
  }

  /** Stores a stream as an archive of the subject. Throws BAD_ARCHIVE, NO_CASYNC, STORE_FULL and the stream's error. */
  async add(subject: string, content: AsyncIterable<Buffer>, signal: AbortSignal): Promise<Archive> {
    return await this.#whileUsed(async () => {
      const name = `${subject}.${randomBytes(16).toString("hex")}`;
      const work = this.#work(`${name}.caibx`);
      const whole = this.#work(name);
      try {
        // casync reads no pipe.
        await pipeline(this.#bounded(content), createWriteStream(whole, { mode: 0o600 }), { signal });
        await cut(whole, path(this.#folder, "chunks"), work, signal);
        const index = await readFile(work);
        await rename(work, this.indexPath(name));
        return { name, sha256: sha256Of(index), bytes: readIndex(index, name).bytes };
      } finally {
        await rm(whole, { force: true });
        await rm(work, { force: true });
      }
    });
  }

  /** Bytes that the index of the archive has at most. Throws STORE_FULL if the archive has no room. */
  longestIndexOf({ bytes }: Archive): number {
    if (bytes > this.#mostBytes) throw this.#full();
    return longestIndex(bytes);
  }

  /** Takes an archive of another store: `fill` gets the chunks that are missing. Throws BAD_ARCHIVE, STORE_FULL. */
  async take<T>(
    archive: Archive,
    index: Buffer,
    fill: (missing: readonly string[], put: (chunk: string, file: Buffer) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    return await this.#whileUsed(async () => {
      const { name } = archive;
      if (sha256Of(index) !== archive.sha256)
        throw new Fault("BAD_ARCHIVE", `the index of ${name} is not the one that its host has announced`);
      const { bytes, chunks } = readIndex(index, name);
      if (bytes !== archive.bytes)
        throw new Fault("BAD_ARCHIVE", `${name} has ${bytes} bytes; its host has announced ${archive.bytes}`);
      if (bytes > this.#mostBytes) throw this.#full();
      let stored = 0;
      const filled = await fill(await this.#missing(chunks), async (chunk, file) => {
        // What a chunk has on the disk is not what its index says of it.
        stored += file.length;
        if (stored > this.#mostBytes) throw this.#full();
        await this.#put(chunk, file);
      });
      const work = this.#work(`${name}.caibx`);
      await writeFile(work, index, { mode: 0o600 });
      await rename(work, this.indexPath(name));
      return filled;
    });
  }

  /**
   * The content of an archive. Throws BAD_ARCHIVE if a chunk is missing or wrong; then the chunks of the archive are
   * removed, so that another attempt fetches them again.
   */
  async read(name: string, signal: AbortSignal): Promise<Content> {
    return await this.#whileUsed(() => this.#read(name, signal));
  }

  async #read(name: string, signal: AbortSignal): Promise<Content> {
    const work = this.#work(`${name}.${randomBytes(4).toString("hex")}`);
    try {
      const rooms = [path(this.#folder, "chunks"), path(this.#folder, "fetched")] as const;
      await join(this.indexPath(name), rooms, work, signal);
      return new Content(await open(work));
    } catch (error) {
      if (error instanceof Fault && error.code === "BAD_ARCHIVE") {
        const index = await this.index(name).catch(noop); // It may be gone as well.
        for (const chunk of index?.chunks ?? [])
          for (const room of ROOMS) await rm(this.#pathIn(room, chunk), { force: true });
      }
      throw error;
    } finally {
      // The content has it open.
      await rm(work, { force: true });
    }
  }

  async index(name: string): Promise<ArchiveIndex> {
    return readIndex(await readFile(this.indexPath(name)), name);
  }

  /**
   * Removes what is not needed: older archives of a subject, and the oldest ones of all, until the rest has room. Does
   * nothing while the store is used. Throws what the disk fails with; another attempt goes on.
   */
  async prune(): Promise<void> {
    if (this.#users > 0) return;
    const pruned = this.#pruning.then(() => this.#prune());
    this.#pruning = pruned.catch(noop);
    await pruned;
  }

  async #prune(): Promise<void> {
    const kept = new Map<string, number>();
    const perSubject = new Map<string, number>();
    for (const name of await this.#names()) {
      const subject = NAME.exec(name)?.[1] ?? "";
      const count = perSubject.get(subject) ?? 0;
      const own = count < KEPT ? await this.#sizes(name, kept) : undefined;
      const bytes = own === undefined ? 0 : sum(own.values()) + sum(kept.values());
      if (own === undefined || bytes > this.#mostBytes) {
        await rm(this.indexPath(name), { force: true });
        continue;
      }
      perSubject.set(subject, count + 1);
      for (const [file, size] of own) kept.set(file, size);
    }
    await this.#removeChunksBut(kept);
  }

  /** The newest first. */
  async #names(): Promise<string[]> {
    const files = (await readdir(path(this.#folder, "indexes"))).filter((file) => file.endsWith(".caibx"));
    const names = files.map((file) => file.slice(0, -".caibx".length));
    const times = await Promise.all(names.map(async (name) => (await stat(this.indexPath(name))).mtimeMs));
    return names
      .map((name, at) => ({ name, time: times[at] ?? 0 }))
      .sort((one, other) => other.time - one.time)
      .map(({ name }) => name);
  }

  /** The files of an archive's chunks that are not in `others`, with their bytes. Undefined: one is missing. */
  async #sizes(name: string, others: ReadonlyMap<string, number>): Promise<Map<string, number> | undefined> {
    try {
      const sizes = new Map<string, number>();
      for (const chunk of (await this.index(name)).chunks) {
        const own = this.chunkPath(chunk);
        const file = (await exists(own)) ? own : this.fetchedPath(chunk);
        if (!others.has(file)) sizes.set(file, (await stat(file)).size);
      }
      return sizes;
    } catch {
      return undefined;
    }
  }

  async #removeChunksBut(kept: ReadonlyMap<string, number>): Promise<void> {
    for (const room of ROOMS)
      for (const prefix of await readdir(path(this.#folder, room)))
        for (const name of await readdir(path(this.#folder, room, prefix))) {
          const file = path(this.#folder, room, prefix, name);
          if (!kept.has(file)) await rm(file, { force: true });
        }
  }

  async #missing(chunks: ReadonlySet<string>): Promise<string[]> {
    const missing: string[] = [];
    for (const chunk of chunks)
      if (!((await exists(this.chunkPath(chunk))) || (await exists(this.fetchedPath(chunk))))) missing.push(chunk);
    return missing;
  }

  async #put(chunk: string, file: Buffer): Promise<void> {
    const work = this.#work(chunk);
    const target = this.fetchedPath(chunk);
    await writeFile(work, file, { mode: 0o600 });
    mkdirSync(path(target, ".."), { recursive: true, mode: 0o700 });
    await rename(work, target);
  }

  async *#bounded(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
    let bytes = 0;
    for await (const piece of content) {
      bytes += piece.length;
      if (bytes > this.#mostBytes) throw this.#full();
      yield piece;
    }
  }

  #full(): Fault {
    return new Fault("STORE_FULL", `the archive is larger than this agent's --store-size, ${this.#mostBytes} bytes`);
  }

  #work(name: string): string {
    return path(this.#folder, "work", name);
  }

  async #whileUsed<T>(use: () => Promise<T>): Promise<T> {
    this.#users++;
    try {
      await this.#pruning;
      return await use();
    } finally {
      this.#users--;
    }
  }
}

const noop = (): undefined => undefined;

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}

function sha256Of(file: Buffer): string {
  return createHash("sha256").update(file).digest("hex");
}

function sum(numbers: Iterable<number>): number {
  let all = 0;
  for (const one of numbers) all += one;
  return all;
}
