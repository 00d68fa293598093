/**
 * Whose ids are whose on this host, as far as it can be told: what a new range must keep clear of (hazard 29). It only
 * looks, and never keeps what it saw: all of it changes while we run.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Native } from "../../native.ts";
import { lastOf, type Pool, type Range } from "./range.ts";

/** Ids that are somebody's. */
export interface UsedIds extends Pool {
  /** Whose, for a message: `/etc/subuid gives them to alice`. */
  readonly by: string;
}

/** Where the host's files are; tests have their own. */
export interface HostFolders {
  readonly etc: string;
  readonly proc: string;
  /** Lock files of systemd-nspawn's ranges. */
  readonly nspawn: string;
}

export const HOST: HostFolders = { etc: "/etc", proc: "/proc", nspawn: "/run/systemd/nspawn-uid" };

/**
 * Entries of /etc/subuid and /etc/subgid that keep others off instead of us: useradd(8) hands out what is in no entry,
 * ranges of ours included, so an operator gives the pool to this name there.
 */
export const SUBID_NAME = "berthd";

// https://systemd.io/UIDS-GIDS/. Whatever is below 65536 is the host's own, systemd's dynamic users (61184–65519) among it.
const fixed: readonly UsedIds[] = [
  { first: 0, last: 65_535, by: "they are the host's own users" },
  { first: 2_147_352_576, last: 2_147_418_111, by: "systemd has them for foreign files" },
  { first: 2_147_483_648, last: 4_294_967_295, by: "many programs take them for negative numbers" },
];

/** What is known to be taken: by rule, in passwd(5), group(5), subuid(5), subgid(5), and by living user namespaces. */
export function idsInUse({ etc, proc }: HostFolders): UsedIds[] {
  return [...fixed, ...accounts(etc), ...namespaces(proc), ...unmapped(proc)];
}

/** Who has come to have ids of a range by now, in the files of accounts; of one that was free once. */
export function accountConflict(range: Range, { etc }: HostFolders = HOST): string | undefined {
  return conflict(range, accounts(etc))?.by;
}

/** Processes that have an id of a range, by its base. */
export function processesIn(
  ranges: readonly Range[],
  { proc }: HostFolders = HOST,
): ReadonlyMap<number, readonly number[]> {
  const found = new Map<number, number[]>();
  for (const pid of processes(proc)) {
    const status = readText(join(proc, pid, "status")) ?? "";
    const ids = [...status.matchAll(/^(?:Uid|Gid):(.*)$/gm)].flatMap(([, ids = ""]) =>
      ids.trim().split(/\s+/).map(Number),
    );
    for (const range of ranges) {
      if (ids.some((id) => id >= range.base && id <= lastOf(range)))
        found.set(range.base, [...(found.get(range.base) ?? []), Number(pid)]);
    }
  }
  return found;
}

function accounts(etc: string): UsedIds[] {
  return [
    ...entries(join(etc, "passwd"), (name, [, id]) => single(id, `the user ${name} has it`)),
    ...entries(join(etc, "group"), (name, [, id]) => single(id, `the group ${name} has it`)),
    ...["subuid", "subgid"].flatMap((file) =>
      entries(join(etc, file), (name, [first, count]) =>
        name === SUBID_NAME ? undefined : span(first, count, `/etc/${file} gives them to ${name}`),
      ),
    ),
  ];
}

/** The first of `taken` that has ids of the range. */
export function conflict(range: Range, taken: readonly UsedIds[]): UsedIds | undefined {
  return taken.find(({ first, last }) => first <= lastOf(range) && last >= range.base);
}

/** Users and groups that only the name service knows: asked for the ends of the range, as systemd-nspawn does. */
export function namedInRange(range: Range, sys: Native): string | undefined {
  for (const id of [range.base, lastOf(range) - 1]) {
    const user = sys.passwd(id);
    if (typeof user === "object") return `the user ${user.name} has the id ${id}`;
    const group = sys.group(id);
    if (typeof group === "object") return `the group ${group.name} has the id ${id}`;
  }
  return undefined;
}

type Fields = readonly [string | undefined, string | undefined];

/** The lines `name:x:y:…` of a file; nothing if there is no such file. Lines that are something else are passed over. */
function entries(path: string, read: (name: string, fields: Fields) => UsedIds | undefined): UsedIds[] {
  return (readText(path) ?? "").split("\n").flatMap((line) => {
    const [name = "", second, third] = line.split(":");
    return read(name, [second, third]) ?? [];
  });
}

function single(id: string | undefined, by: string): UsedIds | undefined {
  return span(id, "1", by);
}

function span(first: string | undefined, count: string | undefined, by: string): UsedIds | undefined {
  if (first === undefined || count === undefined || !/^\d+$/.test(first) || !/^\d+$/.test(count)) return undefined;
  return { first: Number(first), last: Number(first) + Number(count) - 1, by };
}

/** Ids that processes in other user namespaces have. One that maps every id to itself sets none of them apart. */
function namespaces(proc: string): UsedIds[] {
  const taken: UsedIds[] = [];
  for (const file of ["uid_map", "gid_map"]) {
    // Our own map stands for every process in our namespace; the maps of all others are in terms of our ids.
    const seen = new Set([readText(join(proc, "self", file))]);
    for (const pid of processes(proc)) {
      const text = readText(join(proc, pid, file));
      if (text === undefined || seen.has(text)) continue;
      seen.add(text);
      for (const { inside, outside, count } of idMap(text)) {
        if (inside === outside && count >= 2 ** 31) continue;
        taken.push({ first: outside, last: outside + count - 1, by: `process ${pid} has them in a user namespace` });
      }
    }
  }
  return taken;
}

function processes(proc: string): string[] {
  return readdirSync(proc).filter((name) => /^\d+$/.test(name));
}

/** Ids that this process's own user namespace does not have: nothing can be given to them. */
function unmapped(proc: string): UsedIds[] {
  const taken: UsedIds[] = [];
  for (const file of ["uid_map", "gid_map"]) {
    let next = 0;
    const map = idMap(readText(join(proc, "self", file)) ?? "");
    for (const { inside, count } of map.sort((a, b) => a.inside - b.inside)) {
      if (inside > next) taken.push(missing(next, inside - 1));
      next = inside + count;
    }
    if (next < 2 ** 32 - 1) taken.push(missing(next, 2 ** 32 - 1));
  }
  return taken;
}

function missing(first: number, last: number): UsedIds {
  return { first, last, by: "the user namespace that berthd runs in does not have them" };
}

interface IdMapping {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** user_namespaces(7): three numbers a line; none of them while nobody has written the map yet. */
function idMap(text: string): IdMapping[] {
  return text.split("\n").flatMap((line) => {
    const [inside, outside, count] = line.trim().split(/\s+/).map(Number);
    return inside === undefined || outside === undefined || count === undefined ? [] : [{ inside, outside, count }];
  });
}

/** undefined where there is no such file, or its process has ended. */
function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    // EINVAL: a process that ended between the look-up and the open (proc_id_map_open in fs/proc/base.c).
    if (code === "ENOENT" || code === "ESRCH" || code === "EINVAL") return undefined;
    throw error;
  }
}
