/**
 * Reservations of id ranges: who has which, for ever, whatever happens to the process or the machine. Files on disk
 * belong to a range's ids, so a range outlives its berth, and only {@link Ranges.forget} ends it. It never changes
 * the owner of a file, and never takes damaged reservations for none.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { isRangeBase, RANGE_SIZE } from "../../accounts.ts";
import { BerthError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import { type Native, native } from "../../native.ts";
import { syncFolder, system, writeDurably } from "../disk/durable.ts";
import { lockBriefly } from "../disk/lock.ts";
import { conflict, HOST, type HostFolders, idsInUse, namedInRange, type UsedIds } from "./ids-in-use.ts";
import { lockNspawn, unlockNspawn } from "./nspawn.ts";
import { BASE_RULE, basesOf, CONTAINER_POOL, lastOf, type Pool, type Range, rangeAt } from "./range.ts";
import { decodeReservations, encodeReservations, type Reservation, type Reservations } from "./reservations.ts";

export interface RangesOptions {
  /** Where ranges come from that nobody asked for by their base. Default: {@link CONTAINER_POOL}. */
  readonly pool?: Pool;
  readonly sys?: Native;
  readonly host?: HostFolders;
}

/** The reservations of one state folder. Several processes may have it open. */
export class Ranges implements Disposable {
  readonly #folder: string;
  readonly #pool: Pool;
  readonly #sys: Native;
  readonly #host: HostFolders;
  /** nspawn's locks of reserved ranges, by base. */
  readonly #locks = new Map<number, FdHandle>();
  /** The reservations whose locks were tried. */
  #guarded: readonly Reservation[] | undefined;
  #cache: { readonly version: string; readonly reservations: Reservations } | undefined;

  private constructor(folder: string, { pool = CONTAINER_POOL, sys = native, host = HOST }: RangesOptions) {
    this.#folder = folder;
    this.#pool = pool;
    this.#sys = sys;
    this.#host = host;
  }

  /**
   * Opens the folder of reservations, `STATE/ranges`; made at the first reservation. Throws STATE_DAMAGED when what is
   * there cannot be read for certain.
   */
  static open(folder: string, options: RangesOptions = {}): Ranges {
    const ranges = new Ranges(folder, options);
    ranges.#read();
    return ranges;
  }

  /**
   * The owner's range: the one it had before, else `wanted` (its base), else a free one. On disk before it returns.
   * From then until {@link close}, systemd-nspawn picks none of the reserved ranges.
   *
   * Throws RANGE_UNAVAILABLE when the base is no base, is somebody's, is another than the owner has, when the pool is
   * exhausted, or when a container of systemd-nspawn runs on the owner's range; STATE_DAMAGED; STATE_BUSY; SYSTEM_ERROR.
   */
  reserve(owner: string, wanted?: number): Range {
    const known = this.#read().list.find((reservation) => reservation.owner === owner);
    const range = known ?? this.#locked(() => this.#reserveNew(owner, wanted));
    if (wanted !== undefined && range.base !== wanted) {
      throw unavailable(
        `${owner} has the ids from ${range.base}, not from ${wanted}`,
        `write that base, or give its files other owners and \`berth range forget ${owner}\``,
      );
    }
    this.#keepNspawnOff();
    if (!this.#locks.has(range.base) && this.#lockNspawn(range.base) === "taken") {
      throw unavailable(
        `a container of systemd-nspawn runs on the ids from ${range.base}, which are ${owner}'s`,
        "stop it, or start it with --private-users=BASE of another range",
      );
    }
    return rangeAt(range.base);
  }

  /** All reservations, by base. */
  list(): readonly Reservation[] {
    return this.#read().list;
  }

  /** Ends a reservation: another owner may get the range, and with it every file that still has its ids. False: there was none. */
  forget(owner: string): boolean {
    if (this.#read().list.every((reservation) => reservation.owner !== owner)) return false;
    return this.#locked(() => {
      const { next, list } = this.#readFile();
      const rest = list.filter((reservation) => reservation.owner !== owner);
      if (rest.length < list.length) this.#write({ next, list: rest });
      return rest.length < list.length;
    });
  }

  /** Gives systemd-nspawn's locks up; the reservations stay. Idempotent. */
  close(): void {
    for (const [base, lock] of this.#locks) unlockNspawn(this.#host.nspawn, base, lock, this.#sys);
    this.#locks.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #reserveNew(owner: string, wanted: number | undefined): Range {
    const { next, list } = this.#readFile();
    const known = list.find((reservation) => reservation.owner === owner);
    if (known !== undefined) return known;
    const taken = [...list.map(takenBy), ...idsInUse(this.#host)];
    const base = wanted === undefined ? this.#pick(next, taken) : this.#claim(wanted, taken);
    const range = rangeAt(base);
    const reservation = { owner, ...range, since: new Date().toISOString() };
    const ordered = [...list, reservation].sort((a, b) => a.base - b.base);
    // Not the lowest that is free: a range that was forgotten is not another's at once.
    this.#write({ next: wanted === undefined ? base + RANGE_SIZE : next, list: ordered });
    return range;
  }

  #pick(next: number | undefined, taken: readonly UsedIds[]): number {
    for (const base of basesOf(this.#pool, next)) {
      if (conflict(rangeAt(base), taken) === undefined && this.#obstacle(base) === undefined) return base;
    }
    const { first, last } = this.#pool;
    throw unavailable(
      `no ${RANGE_SIZE} ids are free between ${first} and ${last}`,
      "forget ranges that nothing belongs to any more (berth range ls, berth range forget), or start berthd with other --ranges",
    );
  }

  #claim(wanted: number, taken: readonly UsedIds[]): number {
    if (!isRangeBase(wanted)) throw unavailable(`no range begins at ${wanted}`, BASE_RULE);
    const range = rangeAt(wanted);
    const reason = conflict(range, taken)?.by ?? this.#obstacle(wanted);
    if (reason === undefined) return wanted;
    throw unavailable(
      `the ids ${range.base}–${lastOf(range)} are not free: ${reason}`,
      "choose another base, or none: then a free one is found",
    );
  }

  /** What only asking can tell. The lock of a base that is free is ours afterwards. */
  #obstacle(base: number): string | undefined {
    const name = namedInRange(rangeAt(base), this.#sys);
    if (name !== undefined) return name;
    // Also what was ours lately, and was forgotten.
    if (this.#locks.has(base)) return undefined;
    return this.#lockNspawn(base, true) === "taken"
      ? "a container of systemd-nspawn or another broker has them"
      : undefined;
  }

  /** Of the reservations of berths that are gone too: a container there would have their files. */
  #keepNspawnOff(): void {
    const { list } = this.#read();
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

  /** Another process may have changed them: as they are now, or as they were when the file was the same. */
  #read(): Reservations {
    const stat = system(this.#file, () => statSync(this.#file, { bigint: true, throwIfNoEntry: false }));
    const version = stat === undefined ? "" : [stat.ino, stat.ctimeNs, stat.size].join();
    if (this.#cache === undefined || this.#cache.version !== version) {
      this.#cache = { version, reservations: this.#readFile() };
    }
    return this.#cache.reservations;
  }

  /** No folder: nothing was ever reserved. A folder without its file is damage. */
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

  /** The folder and its file come into being together, so that a file which is missing later is never taken for none yet. */
  #create(): void {
    if (isThere(this.#folder)) return;
    const parent = dirname(this.#folder);
    system(parent, () => mkdirSync(parent, { recursive: true, mode: 0o700 }));
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
