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
import { open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join as path } from "node:path";
import { pipeline } from "node:stream/promises";
import { Fault } from "../fault.ts";
import { cut, join } from "./casync.ts";
import { Content } from "./content.ts";
import { type ArchiveIndex, longestIndex, readIndex } from "./index-file.ts";
import { archiveNames, exists, pruneStore, ROOMS, type Room } from "./prune.ts";

/** An archive, as another host finds it. Nobody can guess the name. */
export interface Archive {
  /** SUBJECT.RANDOM */
  readonly name: string;
  /** Of the index, which has the digests of all chunks. */
  readonly sha256: string;
  /** Of the archive. */
  readonly bytes: number;
}

export class ChunkStore {
  readonly folder: string;
  readonly #mostBytes: number;
  /** Transfers that add chunks which no index has yet, and readers. */
  #users = 0;
  #pruning: Promise<void> = Promise.resolve();
  /** Bytes of chunks that no index names: of transfers that have failed. The next one has them already. */
  #unnamed = 0;

  /** Makes the folder if it is not there. `mostBytes`: of all chunks together. */
  constructor(folder: string, mostBytes: number) {
    this.folder = folder;
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
    return path(this.folder, room, chunk.slice(0, 4), `${chunk}.cacnk`);
  }

  indexPath(name: string): string {
    return path(this.folder, "indexes", `${name}.caibx`);
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
        await cut(whole, path(this.folder, "chunks"), work, signal);
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

  /**
   * Takes an archive of another store: `fill` gets the chunks that are missing. Throws BAD_ARCHIVE, also if there is
   * another archive of this name, STORE_FULL, and what `fill` throws. Then chunks that came stay for the next attempt,
   * but never more than the store may have.
   */
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
      await this.#mustNotReplace(name, index);
      const came = new Map<string, number>();
      let stored = 0;
      try {
        const filled = await fill(await this.#missing(chunks), async (chunk, file) => {
          // What a chunk has on the disk is not what its index says of it.
          stored += file.length;
          if (stored > this.#mostBytes) throw this.#full();
          await this.#put(chunk, file);
          came.set(chunk, file.length);
        });
        await this.#write(this.indexPath(name), index);
        return filled;
      } catch (error) {
        await this.#keepSome(came, isDiskFull(error));
        throw error;
      }
    });
  }

  /** A host gives its archives their names. It must not name one as an archive that is here. */
  async #mustNotReplace(name: string, index: Buffer): Promise<void> {
    const there = await readFile(this.indexPath(name)).catch(noop);
    if (there === undefined || there.equals(index)) return;
    throw new Fault("BAD_ARCHIVE", `there is another archive ${name}`);
  }

  async #keepSome(came: ReadonlyMap<string, number>, isFull: boolean): Promise<void> {
    for (const [chunk, bytes] of came)
      if (isFull || this.#unnamed + bytes > this.#mostBytes) await rm(this.fetchedPath(chunk), { force: true });
      else this.#unnamed += bytes;
  }

  /**
   * The content of an archive. Throws BAD_ARCHIVE if a chunk is missing or wrong; then the archive is removed with its
   * chunks, so that another attempt fetches them again.
   */
  async read(name: string, signal: AbortSignal): Promise<Content> {
    return await this.#whileUsed(() => this.#read(name, signal));
  }

  /** Removes an archive that another host has sent, with the chunks that have come from hosts. They may be wrong. */
  async drop(name: string): Promise<void> {
    const index = await this.index(name).catch(noop); // It may be gone already.
    await rm(this.indexPath(name), { force: true });
    for (const chunk of index?.chunks ?? []) await rm(this.fetchedPath(chunk), { force: true });
  }

  /** Also what was made here: the disk may have failed. Archives without one of the chunks would only look whole. */
  async #dropAll(chunks: ReadonlySet<string>): Promise<void> {
    for (const name of await archiveNames(this)) {
      const index = await this.index(name).catch(noop);
      if (index === undefined || [...index.chunks].some((one) => chunks.has(one)))
        await rm(this.indexPath(name), { force: true });
    }
    for (const chunk of chunks) for (const room of ROOMS) await rm(this.#pathIn(room, chunk), { force: true });
  }

  async #read(name: string, signal: AbortSignal): Promise<Content> {
    const work = this.#work(`${name}.${randomBytes(4).toString("hex")}`);
    try {
      const rooms = [path(this.folder, "chunks"), path(this.folder, "fetched")] as const;
      await join(this.indexPath(name), rooms, work, signal);
      return new Content(await open(work));
    } catch (error) {
      if (error instanceof Fault && error.code === "BAD_ARCHIVE") {
        const index = await this.index(name).catch(noop); // It may be gone as well.
        if (index !== undefined) await this.#dropAll(index.chunks);
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
    const pruned = this.#pruning.then(async () => {
      await pruneStore(this, this.#mostBytes);
      this.#unnamed = 0;
    });
    this.#pruning = pruned.catch(noop);
    await pruned;
  }

  async #missing(chunks: ReadonlySet<string>): Promise<string[]> {
    const missing: string[] = [];
    for (const chunk of chunks)
      if (!((await exists(this.chunkPath(chunk))) || (await exists(this.fetchedPath(chunk))))) missing.push(chunk);
    return missing;
  }

  async #put(chunk: string, file: Buffer): Promise<void> {
    const target = this.fetchedPath(chunk);
    mkdirSync(path(target, ".."), { recursive: true, mode: 0o700 });
    await this.#write(target, file);
  }

  /** In one step. Two transfers may write the same file. */
  async #write(target: string, content: Buffer): Promise<void> {
    const work = this.#work(randomBytes(16).toString("hex"));
    try {
      await writeFile(work, content, { mode: 0o600 });
      await rename(work, target);
    } catch (error) {
      await rm(work, { force: true });
      throw error;
    }
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
    return path(this.folder, "work", name);
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

function sha256Of(file: Buffer): string {
  return createHash("sha256").update(file).digest("hex");
}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}
