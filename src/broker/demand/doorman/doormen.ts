/** The doormen: one process for all servers of a user that sleep or are asked who plays, while there are any. */
import type { Log } from "../../../log.ts";
import type { Native } from "../../../native.ts";
import type { Question } from "./asks.ts";
import type { Identity } from "./doorman-process.ts";
import type { Guest } from "./guest.ts";
import { DEFAULT_DOORMAN_LIMITS, type DoormanLimits } from "./limits.ts";
import { UserDoorman } from "./user-doorman.ts";

/** How long one stays that has nothing to do. */
export const LINGER_MS = 60_000;

interface Post {
  readonly doorman: UserDoorman;
  /** Set while it has nothing to do. */
  leaving: NodeJS.Timeout | undefined;
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
  /** By uid; -1 is the broker's own. */
  readonly #posts = new Map<number, Post>();
  #isWithdrawn = false;
  #isClosed = false;
  #lastId = 0;

  constructor(options: DoormenOptions) {
    this.#options = options;
  }

  /** Has a doorman watch. Returns what ends that. Calls `onAlone` later if there is no doorman. */
  watch(identity: Identity | undefined, guest: Guest): () => void {
    const uid = identity?.uid ?? -1;
    const post = this.#posts.get(uid) ?? this.#hire(uid, identity);
    clearTimeout(post.leaving);
    this.#lastId = (this.#lastId + 1) & 0x7fffffff;
    const id = this.#lastId;
    post.doorman.watch(id, guest);
    return () => {
      post.doorman.leave(id);
      this.#linger(uid, post);
    };
  }

  /** Has a doorman ask a server that runs. */
  ask(identity: Identity | undefined, question: Question): void {
    const uid = identity?.uid ?? -1;
    const post = this.#posts.get(uid) ?? this.#hire(uid, identity);
    clearTimeout(post.leaving);
    const onAnswer = (players: number | undefined): void => {
      this.#linger(uid, post);
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
    for (const { doorman } of this.#posts.values()) doorman.readmit();
  }

  /** As waiting for {@link withdraw}, of sockets that they watch no longer: those who still have any are ended. */
  dropNow(): void {
    for (const { doorman } of this.#posts.values()) doorman.dropNow();
  }

  close(): void {
    this.#isClosed = true;
    for (const { doorman, leaving } of this.#posts.values()) {
      clearTimeout(leaving);
      doorman.close();
    }
    this.#posts.clear();
  }

  #hire(uid: number, identity: Identity | undefined): Post {
    const { sys, log, limits = DEFAULT_DOORMAN_LIMITS } = this.#options;
    const onProcesses = (): void => this.#tellProcesses();
    const post: Post = {
      doorman: new UserDoorman({ sys, log, identity, limits, onProcesses }, this.#isWithdrawn),
      leaving: undefined,
    };
    this.#posts.set(uid, post);
    return post;
  }

  /** It remembers who has woken its servers, and is there when the next one sleeps. */
  #linger(uid: number, post: Post): void {
    if (!post.doorman.isIdle) return;
    clearTimeout(post.leaving);
    post.leaving = setTimeout(() => this.#dismiss(uid, post), LINGER_MS).unref();
  }

  #tellProcesses(): void {
    if (this.#isClosed) return;
    this.#options.onProcesses([...this.#posts.values()].flatMap(({ doorman }) => doorman.processes));
  }

  #dismiss(uid: number, post: Post): void {
    if (!post.doorman.isIdle || this.#posts.get(uid) !== post) return;
    post.doorman.end();
    this.#posts.delete(uid);
  }
}
