/**
 * Has copies of the descriptors that the broker shares with tenants kept in a process of its own, the keeper
 * (native/guard/keeper.cc). Closing such a descriptor for the last time may wait for ever, and a broker that does so in
 * its exit keeps all its ports. With the keeper, the broker never is the last. The keeper closes what the broker drops,
 * and everything when the broker ends.
 */
import { isScarcity } from "../../errors.ts";
import type { Log } from "../../log.ts";
import { MAX_FDS, type Native } from "../../native.ts";
import { KeeperProcess } from "./keeper-process.ts";
import type { Zygote } from "./zygote.ts";

/** When to try again what the keeper did not take, in milliseconds. */
const RETRY_MS = 100;
/** The longest wait for the keeper's answer, in milliseconds. It tells much sooner that a tenant holds it up. */
const SETTLE_MS = 1000;
/** The longest wait for its end. */
const END_MS = 1000;

/** A descriptor's copy in the keeper. */
export interface Kept {
  /** Whether it is there: the broker's own is then not the last one. */
  readonly isThere: boolean;
  /** The broker has closed its own: the copy is closed too. Idempotent. */
  drop(): void;
  /** As {@link drop}, and waits until it is closed, so that its address is free, unless a tenant holds that up. */
  dropNow(): void;
}

export interface KeeperOptions {
  readonly sys: Native;
  readonly log: Log;
  /** Who forks the keeper, if it runs. */
  readonly zygote: () => Zygote | undefined;
}

/** What is kept, and whose it is: `berth arena`. */
interface Place {
  readonly whose: string;
  readonly fd: () => number | undefined;
  isThere: boolean;
}

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #places = new Map<number, Place>();
  /** Places that nothing is in. */
  readonly #free: number[] = [];
  /** What the keeper has not got yet, and what it has not been told to close. */
  readonly #unsent = new Set<number>();
  readonly #dropped: number[] = [];
  /** What it closes now, by the number of the request. Of those that are slow the log has a line. */
  readonly #leaving = new Map<number, readonly number[]>();
  readonly #slow = new Set<number>();
  #process: KeeperProcess | undefined;
  #retry: NodeJS.Timeout | undefined;
  #next = 0;
  #lastId = 0;
  #hasEnded = false;
  #isRetired = false;
  /** Called with the keeper's process. The pidfd is borrowed. */
  onBorn: ((pid: number, pidfd: number) => void) | undefined;
  /** Resolves when no other process has what was dropped: the service manager must not be the last one either. */
  othersClosed: () => Promise<unknown> = () => Promise.resolve();

  /** Starts nothing before there is something to keep. */
  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** How many descriptors it closes now and has not closed yet. */
  get leaving(): number {
    return [...this.#leaving.values()].reduce((sum, places) => sum + places.length, 0);
  }

  /** Keeps a copy of what `fd` gives, from the next {@link flush} on, until it is dropped. */
  keep(whose: string, fd: () => number | undefined): Kept {
    const place = this.#free.pop() ?? this.#next++;
    const kept: Place = { whose, fd, isThere: false };
    this.#places.set(place, kept);
    this.#unsent.add(place);
    let isDropped = false;
    const drop = (): void => {
      if (isDropped || this.#isRetired) return;
      isDropped = true;
      this.#drop(place);
    };
    return {
      get isThere() {
        return kept.isThere;
      },
      drop,
      dropNow: () => {
        drop();
        this.settle();
      },
    };
  }

  /** Starts the keeper ahead of its first use. */
  start(): void {
    if (!this.#isRetired && this.#ready() === undefined) this.#tryAgain();
  }

  /** Gives the keeper what is new. It never waits. */
  flush(): void {
    if (this.#isRetired || this.#unsent.size === 0) return;
    const keeper = this.#ready();
    if (keeper === undefined || !this.#sendUnsent(keeper)) this.#tryAgain();
  }

  /**
   * Waits until everything that was dropped is closed, but for what a tenant holds up. The caller has closed all other
   * copies.
   */
  settle(): void {
    this.#leave();
    const deadline = performance.now() + SETTLE_MS;
    for (let left = SETTLE_MS; this.#waits && left > 0; left = deadline - performance.now())
      if (this.#process?.readWithin(left) !== true) return;
  }

  /** The broker ends, and closes its own: the keeper closes everything at {@link close}, and is told of nothing. */
  retire(): void {
    this.#isRetired = true;
    clearTimeout(this.#retry);
  }

  /** The keeper closes everything, and ends. If the addresses must be free then, this waits for it. Idempotent. */
  close({ waits }: { readonly waits: boolean }): void {
    this.retire();
    this.#process?.close(waits && this.#places.size + this.#leaving.size > 0 ? END_MS : 0);
    this.#process = undefined;
  }

  get #waits(): boolean {
    return [...this.#leaving.keys()].some((id) => !this.#slow.has(id));
  }

  #drop(place: number): void {
    this.#unsent.delete(place);
    if (this.#places.get(place)?.isThere !== true) {
      this.#places.delete(place);
      this.#free.push(place);
      return;
    }
    this.#dropped.push(place);
    if (this.#dropped.length === 1) void this.othersClosed().then(() => this.#leave());
  }

  /** Tells the keeper what was dropped. */
  #leave(): void {
    if (this.#isRetired || this.#dropped.length === 0) return;
    if (this.#process === undefined || !this.#sendDropped(this.#process)) this.#tryAgain();
  }

  #sendUnsent(keeper: KeeperProcess): boolean {
    while (this.#unsent.size > 0) {
      const batch: { place: number; kept: Place; fd: number }[] = [];
      for (const place of this.#unsent) {
        const kept = this.#places.get(place);
        const fd = kept?.fd();
        if (kept === undefined || fd === undefined) this.#unsent.delete(place);
        else batch.push({ place, kept, fd });
        if (batch.length === MAX_FDS) break;
      }
      if (batch.length === 0) return true;
      const sent = keeper.keep(
        batch.map(({ place }) => place),
        batch.map(({ fd }) => fd),
      );
      if (sent < 0) return false;
      for (const { place, kept } of batch) {
        kept.isThere = true;
        this.#unsent.delete(place);
      }
    }
    return true;
  }

  #sendDropped(keeper: KeeperProcess): boolean {
    while (this.#dropped.length > 0) {
      const batch = this.#dropped.slice(0, MAX_FDS);
      this.#lastId = (this.#lastId + 1) & 0x7fffffff;
      if (keeper.leave(this.#lastId, batch) < 0) return false;
      this.#dropped.splice(0, batch.length);
      this.#leaving.set(this.#lastId, batch);
    }
    return true;
  }

  #onReply(id: number, value: number): void {
    const places = this.#leaving.get(id);
    if (places === undefined) return;
    if (value > 0) return this.#tellSlow(id, places);
    this.#leaving.delete(id);
    this.#slow.delete(id);
    if (value === 0) return this.#forget(places);
    this.#dropped.push(...places);
    this.#tryAgain();
  }

  #forget(places: readonly number[]): void {
    for (const place of places) this.#places.delete(place);
    this.#free.push(...places);
  }

  #tellSlow(id: number, places: readonly number[]): void {
    this.#slow.add(id);
    const whose = new Set(places.map((place) => this.#places.get(place)?.whose ?? "?"));
    for (const name of whose)
      this.#options.log(
        "warning",
        `${name}: a former tenant holds an epoll with a closed socket; the address stays in use until it ends`,
        { event: "keeper-stuck", stuck: this.#slow.size },
      );
  }

  #ready(): KeeperProcess | undefined {
    if (this.#process !== undefined) return this.#process;
    const zygote = this.#options.zygote();
    if (zygote === undefined) return undefined;
    try {
      this.#process = KeeperProcess.fork(zygote, {
        sys: this.#options.sys,
        onBorn: (pid, pidfd) => this.onBorn?.(pid, pidfd),
        onReply: (id, value) => this.#onReply(id, value),
        onEnd: () => this.#onEnd(),
      });
    } catch (error) {
      if (!isScarcity(error)) throw error;
    }
    return this.#process;
  }

  /** It was killed. What it had, it had beside the broker; what it was closing is closed, or held up by a tenant. */
  #onEnd(): void {
    this.#process = undefined;
    if (this.#isRetired) return;
    if (!this.#hasEnded)
      this.#options.log("warning", "the keeper of the held sockets was killed; the broker starts another", {
        event: "keeper",
      });
    this.#hasEnded = true;
    for (const places of this.#leaving.values()) this.#forget(places);
    this.#leaving.clear();
    this.#slow.clear();
    this.#forget(this.#dropped.splice(0));
    for (const [place, kept] of this.#places) {
      kept.isThere = false;
      this.#unsent.add(place);
    }
    this.#tryAgain();
  }

  #tryAgain(): void {
    if (this.#isRetired) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.flush();
      this.#leave();
    }, RETRY_MS).unref();
  }
}
