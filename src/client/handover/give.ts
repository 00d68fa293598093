/** The present tenant's part of a handover of connections: stops them, and leaves them in the stash. */
import type { Socket } from "node:net";
import { RefusedError } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import type { WaitOptions } from "../../wait-options.ts";
import { connectionName, noteName, writeNote } from "./note.ts";
import { StoppedConnection } from "./stopped-connection.ts";

export interface StashConnectionsOptions extends WaitOptions {
  /** What the successor needs to know of the whole server. Called when all connections have stopped. */
  readonly state?: () => Uint8Array;
  /** What it needs to know of a connection: who plays there, or the part of a message that has come. */
  readonly stateOf?: (connection: Socket) => Uint8Array;
  /** Milliseconds in which a client must take what was written to it. Default: 1000. Slower ones are left. */
  readonly drainMs?: number;
}

export interface StashedConnections {
  /** The connections that the successor gets. They are stopped here. */
  readonly stashed: readonly Socket[];
  /** Those that go on here: they cannot be handed over, or there is no room for them. */
  readonly left: readonly Socket[];
}

/** The parts of a tenancy that this needs. */
export interface Giver {
  stash(name: string, fd: FdHandle | number, options: WaitOptions): Promise<void>;
  unstash(name: string): Promise<void>;
}

/** Calls to the broker that are under way at once. */
const AT_ONCE = 16;
const DRAIN_MS = 1000;
const NOTHING = new Uint8Array(0);

interface Known {
  readonly connection: StoppedConnection;
  readonly state: Uint8Array;
  /** Its stash. */
  readonly name: string;
}

/** Connections that were stopped together, for one newcomer, and go on together if it is gone. */
export class StoppedConnections {
  readonly #newcomer: string;
  readonly #giver: Giver;
  readonly #stopped = new Set<StoppedConnection>();
  readonly #left: Socket[] = [];
  readonly #names: string[] = [];
  #isOver = false;

  constructor(connections: Iterable<Socket>, newcomer: string, giver: Giver) {
    this.#newcomer = newcomer;
    this.#giver = giver;
    for (const socket of connections) {
      const stopped = StoppedConnection.stop(socket);
      if (stopped === undefined) this.#left.push(socket);
      else this.#stopped.add(stopped);
    }
  }

  /** Leaves them in the stash, and a note as the last; none if they were resumed meanwhile. Throws if that fails. */
  async stash({ state, stateOf, drainMs = DRAIN_MS, ...wait }: StashConnectionsOptions): Promise<StashedConnections> {
    // Now: nothing that comes from here on changes it.
    const whole = state?.() ?? NOTHING;
    const all = [...this.#stopped].map((connection, index) => ({
      connection,
      state: stateOf?.(connection.socket) ?? NOTHING,
      name: connectionName(this.#newcomer, index),
    }));
    const written = await Promise.all(all.map(({ connection }) => connection.written(drainMs)));
    const ready = all.filter((_, index) => written[index] === true);
    const stashed = await this.#put(ready, wait);
    // The berth is full: the note needs the place of one.
    const last = stashed.length < ready.length ? stashed.pop() : undefined;
    if (last !== undefined) await this.#giver.unstash(last.name);
    if (this.#isOver) return { stashed: [], left: [...this.#left] };
    const connections = stashed.map(({ connection: { unread }, state, name }) => ({ name, unread, state }));
    using note = writeNote({ connections, state: whole });
    await this.#putOne(noteName(this.#newcomer), note, wait);
    if (this.#isOver) return { stashed: [], left: [...this.#left] };
    const given = new Set(stashed.map(({ connection }) => connection));
    for (const one of this.#stopped) if (!given.has(one)) this.#leave(one);
    return { stashed: [...given].map(({ socket }) => socket), left: [...this.#left] };
  }

  /** All go on here, and leave the stash: a copy there would keep them open when they are closed here. Idempotent. */
  async resume(): Promise<void> {
    this.#isOver = true;
    for (const one of this.#stopped) this.#leave(one);
    const names = this.#names.splice(0);
    // If the broker does not answer, it has no stash to keep.
    await Promise.allSettled(names.map((name) => this.#giver.unstash(name)));
  }

  #leave(one: StoppedConnection): void {
    this.#stopped.delete(one);
    this.#left.push(one.socket);
    one.resume();
  }

  /** Those that are in the stash now. */
  async #put(all: readonly Known[], options: WaitOptions): Promise<Known[]> {
    const stashed: Known[] = [];
    for (let at = 0; at < all.length && !this.#isOver; at += AT_ONCE) {
      const some = all.slice(at, at + AT_ONCE);
      const done = await Promise.all(
        some.map(({ connection: { fd }, name }) => fd !== undefined && this.#putIfRoom(name, fd, options)),
      );
      stashed.push(...some.filter((_, index) => done[index] === true));
    }
    return stashed;
  }

  /** Whether it is in the stash. Not if the broker does not take it: the berth or its user is full. */
  async #putIfRoom(name: string, fd: number, options: WaitOptions): Promise<boolean> {
    try {
      await this.#putOne(name, fd, options);
      return true;
    } catch (error) {
      if (error instanceof RefusedError && KEPT_OUT.has(error.error)) return false;
      throw error;
    }
  }

  async #putOne(name: string, fd: FdHandle | number, options: WaitOptions): Promise<void> {
    this.#names.push(name);
    await this.#giver.stash(name, fd, options);
  }
}

const KEPT_OUT: ReadonlySet<string> = new Set([
  "io.berthd.Broker.LimitReached",
  "io.berthd.Broker.UnsuitableDescriptor",
]);
