/**
 * Whose message is read next. Each user may work for a quantum before others get their turn (deficit round robin), so a
 * user with many or with expensive messages slows nobody else down. It measures work, but never looks at it.
 *
 * While there is time for everybody, a read happens at once. When a user has used its quantum, or all users together
 * their slice, reads wait until the event loop has looked for new messages. Then users who have used little come first.
 * Privileged users have a share of their own.
 */
import type { Turn } from "../../../wire.ts";
import { QUANTUM_MS, SLICE_MS } from "./limits.ts";

/** Time, and what to do when the event loop has looked for new messages. Tests pass their own. */
export interface EventLoop {
  now(): number;
  afterPoll(run: () => void): void;
}

const nodeLoop: EventLoop = { now: () => performance.now(), afterPoll: (run) => void setImmediate(run) };

interface User {
  readonly key: number;
  readonly privileged: boolean;
  connections: number;
  /** Milliseconds used of this round's quantum. More than a quantum is a debt that the next rounds pay. */
  used: number;
  /** The round that `used` is about. */
  round: number;
  readonly waiting: Set<() => void>;
}

export class Turns {
  readonly #loop: EventLoop;
  readonly #users = new Map<number, User>();
  /** Users with reads that wait: privileged ones, those with time left in their quantum, all others. */
  readonly #reserved = new Set<User>();
  readonly #early = new Set<User>();
  readonly #late = new Set<User>();
  #round = 0;
  /** Milliseconds that reads of unprivileged users took at once in this round. */
  #spent = 0;
  #isScheduled = false;
  /** Since when a read runs, and how many milliseconds it may take before it stops between two messages. */
  #since = 0;
  #granted = 0;

  constructor(loop: EventLoop = nodeLoop) {
    this.#loop = loop;
  }

  /** The turns of one more connection of a user. */
  join(account: number, privileged: boolean): Turn {
    const key = privileged ? -1 - account : account;
    let user = this.#users.get(key);
    if (user === undefined) {
      user = { key, privileged, connections: 0, used: 0, round: 0, waiting: new Set() };
      this.#users.set(key, user);
    }
    user.connections++;
    return new Place(this, user);
  }

  /** As {@link Turn.run}. */
  run(user: User, read: () => void): boolean {
    if (!this.#mayRun(user)) {
      this.#wait(user, read);
      return false;
    }
    const ms = this.#measure(user, read, user.privileged ? QUANTUM_MS : SLICE_MS - this.#spent);
    if (!user.privileged) this.#spent += ms;
    return true;
  }

  /** As {@link Turn.leave}. */
  leave(user: User, read: (() => void) | undefined): void {
    if (read !== undefined) user.waiting.delete(read);
    if (--user.connections === 0) this.#users.delete(user.key);
  }

  #mayRun(user: User): boolean {
    this.#settle(user);
    if (user.waiting.size > 0 || user.used >= QUANTUM_MS) return false;
    return user.privileged || this.#spent < SLICE_MS;
  }

  #wait(user: User, read: () => void): void {
    user.waiting.add(read);
    if (user.privileged) this.#reserved.add(user);
    else if (!this.#late.has(user)) (user.used < QUANTUM_MS ? this.#early : this.#late).add(user);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#loop.afterPoll(() => this.#next());
  }

  /** A new round: everybody has a new quantum. Each of the three groups has a slice, so none waits for another. */
  #next(): void {
    this.#isScheduled = false;
    this.#round++;
    this.#spent = 0;
    this.#serve(this.#reserved, this.#reserved);
    this.#serve(this.#early, this.#late);
    this.#serve(this.#late, this.#late);
    if (this.#reserved.size + this.#early.size + this.#late.size > 0) this.#schedule();
  }

  /** Serves users in their order until the slice is used. Those with more to do wait in `next`. */
  #serve(users: Set<User>, next: Set<User>): void {
    let spent = 0;
    for (const user of [...users]) {
      if (spent >= SLICE_MS) return;
      users.delete(user);
      this.#settle(user);
      for (const read of user.waiting) {
        if (user.used >= QUANTUM_MS || spent >= SLICE_MS) break;
        user.waiting.delete(read);
        spent += this.#measure(user, read, SLICE_MS - spent);
      }
      if (user.waiting.size > 0) next.add(user);
    }
  }

  /** As {@link Turn.goesOn}. */
  goesOn(): boolean {
    return this.#loop.now() - this.#since < this.#granted;
  }

  /** Runs `read`, which handles messages for `most` milliseconds or until the quantum is used. */
  #measure(user: User, read: () => void, most: number): number {
    const start = this.#loop.now();
    this.#since = start;
    this.#granted = Math.min(QUANTUM_MS - user.used, most);
    read();
    const ms = this.#loop.now() - start;
    user.used += ms;
    return ms;
  }

  /** Each round that has begun pays a quantum of what was used. */
  #settle(user: User): void {
    if (user.round === this.#round) return;
    user.used = Math.max(0, user.used - (this.#round - user.round) * QUANTUM_MS);
    user.round = this.#round;
  }
}

/** One connection's place among the turns. A class, because closures cost microseconds for each connection. */
class Place implements Turn {
  readonly #turns: Turns;
  readonly #user: User;
  #read: (() => void) | undefined;
  #left = false;

  constructor(turns: Turns, user: User) {
    this.#turns = turns;
    this.#user = user;
  }

  run(read: () => void): boolean {
    this.#read = read;
    return this.#turns.run(this.#user, read);
  }

  goesOn(): boolean {
    return this.#turns.goesOn();
  }

  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#turns.leave(this.#user, this.#read);
  }
}
