/**
 * The doormen: one process for all servers of a user that sleep or are asked who plays, while there are any. The first
 * few users have theirs from the beginning. Those of more users begin when something comes for their servers, and there
 * are never too many: then the one that has been there longest goes.
 */
import type { Log } from "../../../log.ts";
import type { Native } from "../../../native.ts";
import type { Question } from "./asks.ts";
import type { Identity } from "./doorman-process.ts";
import type { Guest } from "./guest.ts";
import { DEFAULT_DOORMAN_LIMITS, type DoormanLimits } from "./limits.ts";
import { type TapMaker, tapMaker } from "./taps.ts";
import { UserDoorman } from "./user-doorman.ts";

/** How long one stays that has nothing to do. */
export const LINGER_MS = 60_000;

/** How often to look whether there is room for a doorman that is needed. */
const LOOK_MS = 200;

interface Post {
  readonly doorman: UserDoorman;
  readonly visits: Set<Visit>;
  /** Set while it has nothing to do. */
  leaving: NodeJS.Timeout | undefined;
  /** It makes room for another one, and gets nothing more to do. */
  isRetiring: boolean;
}

/** One guest. `quiet`: the broker waits for the first packet. `waiting`: that has come; there is no room yet. */
interface Visit {
  readonly identity: Identity | undefined;
  readonly guest: Guest;
  state: "quiet" | "waiting" | "guarded" | "over";
  /** Its number for its doorman, while it is guarded. */
  id: number;
}

/** What a berth has of the doormen. */
export interface Watched {
  /** Ends it. */
  leave(): void;
  /** After that: resolves when no doorman has its descriptors any more, or one that was killed does not end. */
  left(): Promise<void>;
  /** Something has come, after {@link Guest.onQuiet}. */
  arrived(): void;
}

export interface DoormenOptions {
  readonly sys: Native;
  readonly log: Log;
  readonly limits?: DoormanLimits;
  /** Called whenever there are other processes than before. The pidfds are borrowed. */
  readonly onProcesses: (processes: readonly { readonly pid: number; readonly pidfd: number }[]) => void;
}

export class Doormen {
  readonly #options: DoormenOptions;
  readonly #limits: DoormanLimits;
  readonly #taps: TapMaker;
  /** By uid, in the order in which they came. */
  readonly #posts = new Map<number, Post>();
  readonly #waiting = new Set<Visit>();
  #look: NodeJS.Timeout | undefined;
  #isWithdrawn = false;
  #isClosed = false;
  #lastId = 0;

  constructor(options: DoormenOptions) {
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_DOORMAN_LIMITS;
    this.#taps = tapMaker(options.sys, options.log);
  }

  /** Has a doorman watch, now or from the first packet on. Calls `onAlone` later if there is no doorman. */
  watch(identity: Identity | undefined, guest: Guest): Watched {
    const visit: Visit = { identity, guest, state: "waiting", id: 0 };
    if (this.#postOf(identity) !== undefined || this.#posts.size < this.#limits.eager) this.#guard(visit);
    else this.#quiet(visit);
    return {
      leave: () => this.#over(visit),
      left: async () => await this.#posts.get(uidOf(identity))?.doorman.dropped(),
      arrived: () => this.#arrived(visit),
    };
  }

  /** Has a doorman ask a server that runs. There is no answer if there are too many doormen. */
  ask(identity: Identity | undefined, question: Question): void {
    const known = this.#posts.get(uidOf(identity));
    if (known === undefined ? this.#posts.size >= this.#limits.most : known.isRetiring)
      return void setImmediate(() => question.onAnswer(undefined));
    const post = known ?? this.#hire(identity);
    clearTimeout(post.leaving);
    const onAnswer = (players: number | undefined): void => {
      this.#linger(identity, post);
      question.onAnswer(players);
    };
    post.doorman.ask({ ...question, onAnswer });
  }

  /**
   * Takes all sockets from them until {@link readmit}. Resolves when they have closed their copies, so that an address
   * is free once the broker closes its own.
   */
  async withdraw(): Promise<void> {
    this.#isWithdrawn = true;
    const doormen = Array.from(this.#posts.values(), ({ doorman }) => doorman);
    for (const doorman of doormen) doorman.withdraw();
    await Promise.all(doormen.map((doorman) => doorman.dropped()));
  }

  readmit(): void {
    this.#isWithdrawn = false;
    for (const { doorman, isRetiring } of this.#posts.values()) if (!isRetiring) doorman.readmit();
  }

  /** As waiting for {@link withdraw}, of sockets that they watch no longer: those who still have any are ended. */
  dropNow(): void {
    for (const { doorman } of this.#posts.values()) doorman.dropNow();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#look);
    for (const { doorman, leaving } of this.#posts.values()) {
      clearTimeout(leaving);
      doorman.close();
    }
    this.#posts.clear();
  }

  /** One that takes guests. */
  #postOf(identity: Identity | undefined): Post | undefined {
    const post = this.#posts.get(uidOf(identity));
    return post?.isRetiring ? undefined : post;
  }

  #hire(identity: Identity | undefined): Post {
    const { sys, log } = this.#options;
    const onProcesses = (): void => this.#tellProcesses();
    const post: Post = {
      doorman: new UserDoorman(
        { sys, log, identity, limits: this.#limits, taps: this.#taps, onProcesses },
        this.#isWithdrawn,
      ),
      visits: new Set(),
      leaving: undefined,
      isRetiring: false,
    };
    this.#posts.set(uidOf(identity), post);
    return post;
  }

  #guard(visit: Visit): void {
    const post = this.#postOf(visit.identity) ?? this.#hire(visit.identity);
    clearTimeout(post.leaving);
    this.#lastId = (this.#lastId + 1) & 0x7fffffff;
    visit.id = this.#lastId;
    visit.state = "guarded";
    post.visits.add(visit);
    post.doorman.watch(visit.id, visit.guest);
  }

  /** Not inside of the call that asked. */
  #quiet(visit: Visit): void {
    visit.state = "quiet";
    setImmediate(() => {
      if (visit.state === "quiet") visit.guest.onQuiet();
    });
  }

  #over(visit: Visit): void {
    const { state } = visit;
    visit.state = "over";
    this.#waiting.delete(visit);
    const post = this.#posts.get(uidOf(visit.identity));
    if (state !== "guarded" || post === undefined || !post.visits.delete(visit)) return;
    post.doorman.leave(visit.id);
    this.#linger(visit.identity, post);
  }

  #arrived(visit: Visit): void {
    if (visit.state !== "quiet") return;
    visit.state = "waiting";
    this.#waiting.add(visit);
    this.#admit();
  }

  /** Has doormen for those who wait, in the order in which they came. What waits for their servers is in no danger. */
  #admit(): void {
    clearTimeout(this.#look);
    const { most, startingAtOnce } = this.#limits;
    let starting = [...this.#posts.values()].filter(({ doorman }) => doorman.isStarting).length;
    for (const visit of this.#waiting) {
      if (this.#postOf(visit.identity) === undefined) {
        // Also while the former one of this user goes.
        if (this.#posts.size >= most || starting >= startingAtOnce || this.#posts.has(uidOf(visit.identity))) continue;
        starting++;
      }
      this.#waiting.delete(visit);
      this.#guard(visit);
    }
    if (this.#waiting.size === 0 || this.#isClosed) return;
    if (this.#posts.size >= most) this.#makeRoom();
    this.#look = setTimeout(() => this.#admit(), LOOK_MS).unref();
  }

  /** Those that have nothing to do go, and then those that have been there longest, as many as are needed. */
  #makeRoom(): void {
    const needed = Math.min(this.#waiting.size, this.#limits.startingAtOnce);
    const mayGo = ({ isRetiring, doorman: { isIdle, readyFor } }: Post): boolean =>
      !isRetiring && (isIdle || readyFor >= this.#limits.stay);
    const going = [...this.#posts.values()].filter(({ isRetiring }) => isRetiring).length;
    const may = [...this.#posts].filter(([, post]) => mayGo(post));
    may.sort(([, one], [, other]) => Number(other.doorman.isIdle) - Number(one.doorman.isIdle));
    for (const [uid, post] of may.slice(0, Math.max(0, needed - going))) void this.#retire(uid, post);
  }

  /** It closes its copies first: so it loses no packet that it has read. */
  async #retire(uid: number, post: Post): Promise<void> {
    post.isRetiring = true;
    clearTimeout(post.leaving);
    post.doorman.withdraw();
    await post.doorman.dropped();
    if (this.#isClosed) return;
    post.doorman.end();
    this.#posts.delete(uid);
    for (const visit of post.visits) this.#quiet(visit);
    this.#admit();
  }

  /** It remembers who has woken its servers, and is there when the next one sleeps. */
  #linger(identity: Identity | undefined, post: Post): void {
    if (!post.doorman.isIdle || post.isRetiring) return;
    clearTimeout(post.leaving);
    post.leaving = setTimeout(() => this.#dismiss(uidOf(identity), post), LINGER_MS).unref();
  }

  #tellProcesses(): void {
    if (this.#isClosed) return;
    this.#options.onProcesses([...this.#posts.values()].flatMap(({ doorman }) => doorman.processes));
  }

  #dismiss(uid: number, post: Post): void {
    if (!post.doorman.isIdle || post.isRetiring || this.#posts.get(uid) !== post) return;
    post.doorman.end();
    this.#posts.delete(uid);
  }
}

/** -1 is the broker's own. */
function uidOf(identity: Identity | undefined): number {
  return identity?.uid ?? -1;
}
