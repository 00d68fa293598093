/** The host's key, for as long as its lease is kept. A lease that was lost is taken again. */
import { type Etcd, isUnreachable } from "../etcd/etcd.ts";
import { sleep } from "../etcd/follow.ts";
import { Fault } from "../fault.ts";
import { fromJson } from "../model/fields.ts";
import { type HostRecord, hostRecord } from "../model/host.ts";
import type { Keys } from "../model/keys.ts";

export interface PresenceEvents {
  /** There is a new lease: keys under the former one are gone. */
  taken(): void;
  /** The lease is held again, after a time in which it might have ended: what had to wait can begin. */
  heldAgain(): void;
  /** For people: a change, once. */
  say(sentence: string): void;
}

const AFTER_FAILURE_MS = 1_000;

export class Presence {
  readonly #etcd: Etcd;
  readonly #key: string;
  readonly #seconds: number;
  readonly #describe: () => HostRecord;
  readonly #events: PresenceEvents;
  #lease: bigint | undefined;
  /** By performance.now(), which no step of the clock moves. */
  #heldUntil = 0;
  #published = "";
  #wake: () => void = () => undefined;
  #said = "";

  constructor(
    etcd: Etcd,
    keys: Keys,
    host: string,
    seconds: number,
    describe: () => HostRecord,
    events: PresenceEvents,
  ) {
    this.#etcd = etcd;
    this.#key = keys.of({ kind: "host", host });
    this.#seconds = seconds;
    this.#describe = describe;
    this.#events = events;
  }

  /** The lease, while etcd surely has it; undefined: this host begins nothing new. */
  get lease(): bigint | undefined {
    return performance.now() < this.#heldUntil ? this.#lease : undefined;
  }

  /** The host has changed: its record is written soon. */
  look(): void {
    this.#wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      const failed = await this.#step();
      if (failed !== undefined) this.#say(failed);
      const [pause, until] =
        failed === undefined
          ? [(this.#seconds * 1000) / 3, AbortSignal.any([signal, woken.signal])]
          : [AFTER_FAILURE_MS, signal];
      await sleep(pause, until);
    }
  }

  /** Why there is no lease; undefined: there is one. */
  async #step(): Promise<string | undefined> {
    try {
      const asked = performance.now();
      if (this.#lease !== undefined && !(await this.#etcd.keepAlive(this.#lease))) {
        this.#lease = undefined;
        this.#say("the lease has ended; servers go on, and a new lease is taken");
      }
      if (this.#lease === undefined) return await this.#take();
      const wasHeld = this.lease !== undefined;
      this.#heldUntil = asked + this.#seconds * 1000;
      if (!wasHeld) this.#events.heldAgain();
      await this.#publish(this.#lease);
      this.#say("the lease is held");
      return undefined;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      if (!isUnreachable(error)) this.#lease = undefined;
      return `${error.message}; servers go on`;
    }
  }

  async #take(): Promise<string | undefined> {
    const asked = performance.now();
    const record = this.#describe();
    const { lists } = await this.#etcd.read({ key: this.#key });
    const [entry] = lists[0];
    const former = entry && fromJson(entry.value, hostRecord, this.#key);
    if (former !== undefined && former.bootId !== record.bootId)
      return `another machine is host ${record.name}, or this one was restarted; waiting until that lease ends`;
    const lease = await this.#etcd.grant(this.#seconds);
    const value = JSON.stringify(record);
    const { done } = await this.#etcd.commit(
      [{ key: this.#key, revision: entry?.revision ?? 0 }],
      [{ put: this.#key, value, lease }],
    );
    if (!done) {
      await this.#etcd.revoke(lease);
      return `host ${record.name} was changed meanwhile`;
    }
    this.#lease = lease;
    this.#published = value;
    this.#heldUntil = asked + this.#seconds * 1000;
    this.#say("the lease is held");
    this.#events.taken();
    return undefined;
  }

  async #publish(lease: bigint): Promise<void> {
    const value = JSON.stringify(this.#describe());
    if (value === this.#published) return;
    await this.#etcd.commit([], [{ put: this.#key, value, lease }]);
    this.#published = value;
  }

  #say(sentence: string): void {
    if (sentence === this.#said) return;
    this.#said = sentence;
    this.#events.say(sentence);
  }
}
