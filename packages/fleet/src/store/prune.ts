/** Removes from a store what is not needed. */
import { access, readdir, rm, stat } from "node:fs/promises";
import { join as path } from "node:path";
import type { ArchiveIndex } from "./index-file.ts";
import { subjectOf } from "./names.ts";

/** What is needed of a store. */
interface Shelves {
  readonly folder: string;
  chunkPath(chunk: string): string;
  fetchedPath(chunk: string): string;
  indexPath(name: string): string;
  index(name: string): Promise<ArchiveIndex>;
}

/** Archives of one subject that are kept: the next one has most of its chunks. */
const KEPT = 2;
const INDEX = ".caibx";
export const ROOMS = ["chunks", "fetched"] as const;
export type Room = (typeof ROOMS)[number];

/** Older archives of a subject, the oldest ones of all until the rest has room, and chunks that no archive has. */
export async function pruneStore(store: Shelves, mostBytes: number): Promise<void> {
  const kept = new Map<string, number>();
  const perSubject = new Map<string, number>();
  for (const name of await archiveNames(store)) {
    const subject = subjectOf(name) ?? "";
    const count = perSubject.get(subject) ?? 0;
    const own = count < KEPT ? await sizesOf(store, name, kept) : undefined;
    const bytes = own === undefined ? 0 : sum(own.values()) + sum(kept.values());
    if (own === undefined || bytes > mostBytes) {
      await rm(store.indexPath(name), { force: true });
      continue;
    }
    perSubject.set(subject, count + 1);
    for (const [file, size] of own) kept.set(file, size);
  }
  await removeChunksBut(store, kept);
}

/** The newest first. */
export async function archiveNames(store: Shelves): Promise<string[]> {
  const files = (await readdir(path(store.folder, "indexes"))).filter((file) => file.endsWith(INDEX));
  const names = files.map((file) => file.slice(0, -INDEX.length));
  const times = await Promise.all(names.map(async (name) => (await stat(store.indexPath(name))).mtimeMs));
  return names
    .map((name, at) => ({ name, time: times[at] ?? 0 }))
    .sort((one, other) => other.time - one.time)
    .map(({ name }) => name);
}

/** The files of an archive's chunks that are not in `others`, with their bytes. Undefined: one is missing. */
async function sizesOf(
  store: Shelves,
  name: string,
  others: ReadonlyMap<string, number>,
): Promise<Map<string, number> | undefined> {
  try {
    const sizes = new Map<string, number>();
    for (const chunk of (await store.index(name)).chunks) {
      const own = store.chunkPath(chunk);
      const file = (await exists(own)) ? own : store.fetchedPath(chunk);
      if (!others.has(file)) sizes.set(file, (await stat(file)).size);
    }
    return sizes;
  } catch {
    return undefined;
  }
}

async function removeChunksBut({ folder }: Shelves, kept: ReadonlyMap<string, number>): Promise<void> {
  for (const room of ROOMS)
    for (const prefix of await readdir(path(folder, room)))
      for (const name of await readdir(path(folder, room, prefix))) {
        const file = path(folder, room, prefix, name);
        if (!kept.has(file)) await rm(file, { force: true });
      }
}

export async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}

function sum(numbers: Iterable<number>): number {
  let all = 0;
  for (const one of numbers) all += one;
  return all;
}
