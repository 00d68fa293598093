/**
 * Finds the ids that are in use on this host. A new range must not overlap them (hazard 29). It reads everything again
 * each time: accounts and namespaces change while berthd runs. It changes nothing.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Native } from "../../native.ts";
import { lastOf, type Pool, type Range } from "./range.ts";

/** Ids that are in use. */
export interface UsedIds extends Pool {
  /** Who uses them, for a message: `/etc/subuid gives them to alice`. */
  readonly by: string;
}

/** Folders of the host. Tests pass folders of their own. */
export interface HostFolders {
  readonly etc: string;
  readonly proc: string;
  /** The lock files of systemd-nspawn, one per range. */
  readonly nspawn: string;
}

export const HOST: HostFolders = { etc: "/etc", proc: "/proc", nspawn: "/run/systemd/nspawn-uid" };

/**
 * The name of berthd's own entries in /etc/subuid and /etc/subgid. useradd(8) gives new users ids that are in no entry,
 * even ids of our ranges. So an operator gives the whole pool to this name, and we ignore its entries.
 */
export const SUBID_NAME = "berthd";

// From https://systemd.io/UIDS-GIDS/. Ids below 65536 belong to the host, with systemd's dynamic users (61184–65519).
const fixed: readonly UsedIds[] = [
  { first: 0, last: 65_535, by: "they belong to the host's own users" },
  { first: 2_147_352_576, last: 2_147_418_111, by: "systemd uses them for foreign files" },
  { first: 2_147_483_648, last: 4_294_967_295, by: "many programs read them as negative numbers" },
];

/** All ids known to be in use: by convention, in passwd(5), group(5), subuid(5), subgid(5), and in user namespaces. */
export function idsInUse({ etc, proc }: HostFolders): UsedIds[] {
  return [...fixed, ...accounts(etc), ...namespaces(proc), ...unmapped(proc)];
}

/** Says which account uses ids of a reserved range, if one was added since. Undefined when none does. */
export function accountConflict(range: Range, { etc }: HostFolders = HOST): string | undefined {
  return conflict(range, accounts(etc))?.by;
}

/** The pids of processes that run with an id of each range, by the range's base. */
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

/** The first of `taken` that overlaps the range. */
export function conflict(range: Range, taken: readonly UsedIds[]): UsedIds | undefined {
  return taken.find(({ first, last }) => first <= lastOf(range) && last >= range.base);
}

/**
 * Asks the name service (LDAP and others) for users and groups in the range. It asks only for the ends of the range, as
 * systemd-nspawn does.
 */
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

/** Reads the lines `name:x:y:…` of a file. Skips other lines. A missing file has no lines. */
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

/** Ids that other user namespaces map. A namespace that maps every id to itself reserves none of them. */
function namespaces(proc: string): UsedIds[] {
  const taken: UsedIds[] = [];
  for (const file of ["uid_map", "gid_map"]) {
    // Processes in our own namespace have our map: skip it. The kernel shows all other maps in terms of our ids.
    const seen = new Set([readText(join(proc, "self", file))]);
    for (const pid of processes(proc)) {
      const text = readText(join(proc, pid, file));
      if (text === undefined || seen.has(text)) continue;
      seen.add(text);
      for (const { inside, outside, count } of idMap(text)) {
        if (inside === outside && count >= 2 ** 31) continue;
        taken.push({ first: outside, last: outside + count - 1, by: `process ${pid} uses them in a user namespace` });
      }
    }
  }
  return taken;
}

function processes(proc: string): string[] {
  return readdirSync(proc).filter((name) => /^\d+$/.test(name));
}

/** Ids that this process's own user namespace does not map. No file can belong to them. */
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

/** Parses a map: three numbers a line (user_namespaces(7)). The map is empty until somebody has written it. */
function idMap(text: string): IdMapping[] {
  return text.split("\n").flatMap((line) => {
    const [inside, outside, count] = line.trim().split(/\s+/).map(Number);
    return inside === undefined || outside === undefined || count === undefined ? [] : [{ inside, outside, count }];
  });
}

/** Reads a file. Undefined when it does not exist, or when its process has ended. */
function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    // EINVAL: the process ended between the look-up and the open (proc_id_map_open in fs/proc/base.c).
    if (code === "ENOENT" || code === "ESRCH" || code === "EINVAL") return undefined;
    throw error;
  }
}
