/**
 * The user that an id counts as. A user with subordinate ids (subuid(5)) can act as 65,536 users, and so can root in a
 * berth's range. All these ids share the limits of one user.
 */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { SUBID_NAME } from "../../rootfs/ranges/ids-in-use.ts";
import type { Range } from "../../rootfs/ranges/range.ts";
import { OWNERS_AGE_MS } from "./limits/limits.ts";

/** Ids from `first` to `last` count as `account`. */
interface Owned {
  readonly first: number;
  readonly last: number;
  readonly account: number;
}

export interface OwnersOptions {
  /** Whether the id is of a user without limits. Its subordinate ids do not count as that user. */
  readonly isPrivileged: (uid: number) => boolean;
  /** The ranges of berths. */
  readonly ranges: () => Iterable<Range>;
  /** The folder of passwd and subuid. Tests pass their own. */
  readonly etc?: string;
}

/** Bytes that are read of each file. */
const MAX_BYTES = 1024 * 1024;
/** Ids to remember the owner of. */
const MAX_KNOWN = 4096;

export class Owners {
  readonly #options: OwnersOptions;
  readonly #etc: string;
  /** Of ids that were asked about. */
  readonly #known = new Map<number, number>();
  #subordinate: readonly Owned[] = [];
  #ranges: readonly Owned[] = [];
  #version = "";
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(options: OwnersOptions) {
    this.#options = options;
    this.#etc = options.etc ?? "/etc";
  }

  /** The id whose limits this user shares: its own, its owner's, or the first one of its range. `now` in ms. */
  accountOf(uid: number, now: number): number {
    if (now - this.#checkedAt >= OWNERS_AGE_MS) this.#refresh(now);
    const known = this.#known.get(uid);
    if (known !== undefined) return known;
    const owned = [this.#ranges, this.#subordinate].flatMap(
      (all) => all.find(({ first, last }) => uid >= first && uid <= last) ?? [],
    );
    const account = owned[0]?.account ?? uid;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(uid, account);
    return account;
  }

  #refresh(now: number): void {
    this.#checkedAt = now;
    this.#known.clear();
    this.#ranges = [...this.#options.ranges()].map(({ base, count }) => ({
      first: base,
      last: base + count - 1,
      account: base,
    }));
    const files = ["passwd", "subuid"].map((name) => join(this.#etc, name));
    const version = files.map(versionOf).join();
    if (version === this.#version) return;
    this.#version = version;
    const [passwd = "", subuid = ""] = files.map(readStart);
    this.#subordinate = subordinateIds(passwd, subuid, this.#options.isPrivileged);
  }
}

/** The entries of subuid(5): `alice:100000:65536`, or a uid instead of the name. */
function subordinateIds(passwd: string, subuid: string, isPrivileged: (uid: number) => boolean): Owned[] {
  const uids = new Map(fieldsOf(passwd).map(([name, , uid]) => [name, Number(uid)]));
  const accounts = new Map<string, number>();
  return fieldsOf(subuid).flatMap(([name = "", start = "", count = ""]) => {
    if (name === SUBID_NAME || !/^\d+$/.test(start) || !/^\d+$/.test(count)) return [];
    const first = Number(start);
    const uid = uids.get(name) ?? Number(name);
    const account = accounts.get(name) ?? (Number.isInteger(uid) && !isPrivileged(uid) ? uid : first);
    accounts.set(name, account);
    return { first, last: first + Number(count) - 1, account };
  });
}

function fieldsOf(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split(":"));
}

/** What differs when the file was changed. Nothing if it cannot be read. */
function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? "" : `${stat.ino}/${stat.size}/${stat.mtimeNs}`;
}

/** The beginning of a file, in whole lines. Empty if it cannot be read. */
function readStart(path: string): string {
  try {
    const fd = openSync(path, "r");
    try {
      const bytes = Buffer.alloc(MAX_BYTES);
      const length = readSync(fd, bytes, 0, MAX_BYTES, 0);
      const text = bytes.toString("utf8", 0, length);
      return length < MAX_BYTES ? text : text.slice(0, text.lastIndexOf("\n"));
    } finally {
      closeSync(fd);
    }
  } catch {
    return "";
  }
}
