/**
 * Stores which berth has which id range. Files on disk belong to a range's ids. So a reservation survives crashes and
 * outlives its berth, and only {@link Ranges.forget} ends it. It never changes the owner of a file. It never treats a
 * damaged file of reservations as an empty one.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { isRangeBase, RANGE_SIZE } from "../../accounts.ts";
import { BerthError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import { makeFolders } from "../../make-folders.ts";
import { type Native, native } from "../../native.ts";
import { syncFolder, system, writeDurably } from "../disk/durable.ts";
import { lockBriefly } from "../disk/lock.ts";
import { conflict, HOST, type HostFolders, idsInUse, namedInRange, type UsedIds } from "./ids-in-use.ts";
import { lockNspawn, unlockNspawn } from "./nspawn.ts";
import { BASE_RULE, basesOf, CONTAINER_POOL, lastOf, type Pool, type Range, rangeAt } from "./range.ts";
import { decodeReservations, encodeReservations, type Reservation, type Reservations } from "./reservations.ts";

export interface RangesOptions {
  /** New ranges come from this pool, unless the caller names a base. Default: {@link CONTAINER_POOL}. */
  readonly pool?: Pool;
  readonly sys?: Native;
  readonly host?: HostFolders;
}

/** What was read, and of which `version` of the file. */
interface Known extends Reservations {
  readonly version: string;
  readonly byOwner: ReadonlyMap<string, Reservation>;
}

/** The reservations of one state folder. Several processes may use the folder at the same time. */
export class Ranges implements Disposable {
  readonly #folder: string;
  readonly #pool: Pool;
  readonly #sys: Native;
  readonly #host: HostFolders;
  /** The nspawn locks on reserved ranges, by base. */
  readonly #locks = new Map<number, FdHandle>();
  /** The reservations for which locks were last taken. */
  #guarded: readonly Reservation[] | undefined;
  #cache: Known | undefined;

  private constructor(folder: string, { pool = CONTAINER_POOL, sys = native, host = HOST }: RangesOptions) {
    this.#folder = folder;
    this.#pool = pool;
    this.#sys = sys;
    this.#host = host;
  }

  /**
   * Opens the folder of reservations, `STATE/ranges`. The first reservation creates the folder. Throws STATE_DAMAGED
   * when the file in it is missing or damaged.
   */
  static open(folder: string, options: RangesOptions = {}): Ranges {
    const ranges = new Ranges(folder, options);
    ranges.#read();
    return ranges;
  }

  /**
   * The owner's range: the one it has, else the one at the base `wanted`, else a free one. The reservation is on disk
   * before this returns. Until {@link close}, systemd-nspawn picks none of the reserved ranges.
   *
   * Throws RANGE_UNAVAILABLE when `wanted` is not a valid base, is in use, or is not the base that the owner has. Also
   * when the pool is full, or when a container of systemd-nspawn runs on the owner's range. Throws STATE_DAMAGED,
   * STATE_BUSY and SYSTEM_ERROR too.
   */
  reserve(owner: string, wanted?: number): Range {
    let reservations = this.#read();
    if (!reservations.byOwner.has(owner)) {
      this.reserveAll(new Map([[owner, wanted]]));
      reservations = this.#read();
    }
    const range = reservations.byOwner.get(owner);
    if (range === undefined) throw unavailable(`the range of ${owner} was forgotten at this moment`, "try again");
    if (wanted !== undefined && range.base !== wanted) {
      throw unavailable(
        `${owner} already has the range at ${range.base}, so it cannot have the one at ${wanted}`,
        `write root.range = ${range.base}; or change the owners of its files, then run \`berth range forget ${owner}\``,
      );
    }
    this.#keepNspawnOff(reservations);
    if (!this.#locks.has(range.base) && this.#lockNspawn(range.base) === "taken") {
      throw unavailable(
        `a container of systemd-nspawn runs on ${owner}'s ids, from ${range.base}`,
        "stop the container (`machinectl list` names it), or start it with --private-users=BASE of another range",
      );
    }
    return rangeAt(range.base);
  }

  /**
   * Reserves a range for each owner that has none, as {@link reserve} does, with one write. If one of them cannot be
   * had, it throws, and reserves none.
   */
  reserveAll(wanted: ReadonlyMap<string, number | undefined>): void {
    this.#locked(() => this.#reserveNew(wanted));
  }

  /** Whether the owner had a range when the file was read last. It reads nothing. */
  knows(owner: string): boolean {
    return this.#cache?.byOwner.has(owner) === true;
  }

  /** The owner's range, if one is reserved. */
  of(owner: string): Range | undefined {
    const found = this.#read().byOwner.get(owner);
    return found === undefined ? undefined : { base: found.base, count: found.count };
  }

  /** All reservations, by base. */
  list(): readonly Reservation[] {
    return this.#read().list;
  }

  /**
   * Ends a reservation. Returns false when there was none. Another owner may get the range later, and with it every
   * file that still has its ids.
   */
  forget(owner: string): boolean {
    if (this.#read().list.every((reservation) => reservation.owner !== owner)) return false;
    return this.#locked(() => {
      const { next, list } = this.#readFile();
      const rest = list.filter((reservation) => reservation.owner !== owner);
      if (rest.length < list.length) this.#write({ next, list: rest });
      return rest.length < list.length;
    });
  }

  /** Frees the nspawn locks. The reservations stay. Idempotent. */
  close(): void {
    for (const [base, lock] of this.#locks) unlockNspawn(this.#host.nspawn, base, lock, this.#sys);
    this.#locks.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Reserves a range for each that has none. Throws before it writes anything if one of them cannot be had. */
  #reserveNew(wanted: ReadonlyMap<string, number | undefined>): void {
    const { next: start, list } = this.#readFile();
    let next = start;
    const known = new Set(list.map(({ owner }) => owner));
    const taken = [...list.map(takenBy), ...idsInUse(this.#host)];
    const since = new Date().toISOString();
    const added: Reservation[] = [];
    for (const [owner, base] of wanted) {
      if (known.has(owner)) continue;
      const range = rangeAt(base === undefined ? this.#pick(next, taken) : this.#claim(base, taken));
      // The search continues after the last range, so a forgotten range is not reused at once.
      if (base === undefined) next = range.base + RANGE_SIZE;
      const reservation = { owner, ...range, since };
      taken.push(takenBy(reservation));
      added.push(reservation);
    }
    if (added.length > 0) this.#write({ next, list: [...list, ...added].sort((a, b) => a.base - b.base) });
  }

  #pick(next: number | undefined, taken: readonly UsedIds[]): number {
    for (const base of basesOf(this.#pool, next)) {
      if (conflict(rangeAt(base), taken) === undefined && this.#obstacle(base) === undefined) return base;
    }
    const { first, last } = this.#pool;
    throw unavailable(
      `no ${RANGE_SIZE} ids are free between ${first} and ${last}`,
      "list the ranges with `berth range ls`, end unused ones with `berth range forget NAME`, or start berthd with other --ranges",
    );
  }

  #claim(wanted: number, taken: readonly UsedIds[]): number {
    if (!isRangeBase(wanted)) throw unavailable(`no range starts at ${wanted}`, BASE_RULE);
    const range = rangeAt(wanted);
    const reason = conflict(range, taken)?.by ?? this.#obstacle(wanted);
    if (reason === undefined) return wanted;
    throw unavailable(
      `the ids ${range.base}–${lastOf(range)} are not free: ${reason}`,
      "set another base, or remove root.range: then berthd picks a free one",
    );
  }

  /** Says who else uses a base, as the name service and nspawn's locks show. Locks a base that is free. */
  #obstacle(base: number): string | undefined {
    const name = namedInRange(rangeAt(base), this.#sys);
    if (name !== undefined) return name;
    // The range may be one that we forgot a moment ago: we still hold its lock.
    if (this.#locks.has(base)) return undefined;
    return this.#lockNspawn(base, true) === "taken"
      ? "a container of systemd-nspawn or another broker uses them"
      : undefined;
  }

  /** Locks every reserved range, removed berths' too: a container on such a range could use the berth's files. */
  #keepNspawnOff({ list }: Reservations): void {
    if (list === this.#guarded) return;
    this.#guarded = list;
    const reserved = new Set(list.map(({ base }) => base));
    for (const base of reserved) if (!this.#locks.has(base)) this.#lockNspawn(base);
    for (const [base, lock] of this.#locks) {
      if (reserved.has(base)) continue;
      unlockNspawn(this.#host.nspawn, base, lock, this.#sys);
      this.#locks.delete(base);
    }
  }

  #lockNspawn(base: number, alone = false): "ours" | "taken" | "absent" {
    const lock = lockNspawn(this.#host.nspawn, base, alone, this.#sys);
    if (typeof lock === "string") return lock;
    this.#locks.set(base, lock);
    return "ours";
  }

  get #file(): string {
    return join(this.#folder, "ranges.json");
  }

  /** The reservations as they are now. Another process may have written the file: it is read again when it changed. */
  #read(): Known {
    const stat = system(this.#file, () => statSync(this.#file, { bigint: true, throwIfNoEntry: false }));
    const version = stat === undefined ? "" : [stat.ino, stat.ctimeNs, stat.size].join();
    if (this.#cache === undefined || this.#cache.version !== version) {
      const reservations = this.#readFile();
      const byOwner = new Map(reservations.list.map((reservation) => [reservation.owner, reservation]));
      this.#cache = { version, byOwner, ...reservations };
    }
    return this.#cache;
  }

  /** Without a folder nothing was ever reserved. A folder without its file is damaged. */
  #readFile(): Reservations {
    if (isThere(this.#folder)) return decodeReservations(this.#file, textOf(this.#file));
    return { next: undefined, list: [] };
  }

  #write(reservations: Reservations): void {
    writeDurably(this.#file, encodeReservations(reservations));
  }

  #locked<Result>(action: () => Result): Result {
    this.#create();
    using _lock = lockBriefly(this.#folder, this.#sys);
    return action();
  }

  /** Creates the folder together with its file. So a file that is missing later always means damage. */
  #create(): void {
    if (isThere(this.#folder)) return;
    const parent = dirname(this.#folder);
    system(parent, () => makeFolders(parent, 0o700));
    using _lock = lockBriefly(parent, this.#sys);
    if (isThere(this.#folder)) return;
    const next = `${this.#folder}.new`;
    system(next, () => {
      rmSync(next, { recursive: true, force: true });
      mkdirSync(next, { mode: 0o700 });
    });
    writeDurably(join(next, "ranges.json"), encodeReservations({ next: undefined, list: [] }));
    system(this.#folder, () => renameSync(next, this.#folder));
    syncFolder(parent);
  }
}

function isThere(path: string): boolean {
  return system(path, () => statSync(path, { throwIfNoEntry: false })) !== undefined;
}

function textOf(path: string): string | undefined {
  return isThere(path) ? system(path, () => readFileSync(path, "utf8")) : undefined;
}

function takenBy({ owner, base, count }: Reservation): UsedIds {
  return { first: base, last: base + count - 1, by: `they are reserved for ${owner}` };
}

function unavailable(what: string, remedy: string): BerthError {
  return new BerthError("RANGE_UNAVAILABLE", `${what}; ${remedy}`);
}
