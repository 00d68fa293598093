/** Places the berths of lost hosts elsewhere, those whose set says so. Every agent does it; transactions choose one. */
import { type Etcd, isUnreachable } from "../etcd/etcd.ts";
import { follow, sleep } from "../etcd/follow.ts";
import { Fault } from "../fault.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Keys } from "../model/keys.ts";
import { unlessDenied } from "./denied.ts";

const PAUSE_MS = 500;
/** Until berths that no host could take are tried again. */
const AFTER_REFUSAL_MS = 15_000;

export class LostHosts {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #fleet: Fleet;
  readonly #marginMs: number;
  readonly #say: (sentence: string) => void;
  /** Since when each host is gone, by performance.now(). */
  readonly #gone = new Map<string, number>();
  /** When the fleet is read again; it is large, so not without a reason. */
  #next = Number.POSITIVE_INFINITY;

  /** A host is lost `marginMs` after its lease has ended: its agent may only be restarting. */
  constructor(etcd: Etcd, keys: Keys, fleet: Fleet, marginMs: number, say: (sentence: string) => void) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#fleet = fleet;
    this.#marginMs = marginMs;
    this.#say = say;
  }

  /** Until the signal, or until etcd denies it: an agent may have no right to change what other hosts have. */
  async run(signal: AbortSignal): Promise<void> {
    const denied = new AbortController();
    const until = AbortSignal.any([signal, denied.signal]);
    const told = ({ message }: Fault): void => {
      if (!denied.signal.aborted) this.#say(`berths of lost hosts are placed by others: ${message}`);
      denied.abort();
    };
    await Promise.all([unlessDenied(this.#follow(until), told), unlessDenied(this.#replace(until), told)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const one of follow(this.#etcd, { prefix: this.#keys.all("host") }, signal)) {
      if (one.kind === "lost") {
        // Hosts could not keep their leases either: they get the whole margin again.
        this.#gone.clear();
        this.#next = Number.POSITIVE_INFINITY;
        continue;
      }
      if (one.kind === "all") for (const { key } of one.entries) this.#gone.delete(this.#keys.nameIn(key));
      const events = one.kind === "changes" ? one.events : [];
      for (const event of events) if (event.kind === "put") this.#gone.delete(this.#keys.nameIn(event.entry.key));
      if (one.kind !== "changes" || events.some(({ kind }) => kind === "removed")) this.#next = performance.now();
    }
  }

  async #replace(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await sleep(PAUSE_MS, signal)) {
      if (performance.now() < this.#next) continue;
      this.#next = Number.POSITIVE_INFINITY;
      try {
        await this.#look();
      } catch (error) {
        if (!(error instanceof Fault) || error.code === "ETCD_DENIED") throw error;
        if (!isUnreachable(error)) this.#say(error.message);
        this.#lookAgainIn(AFTER_REFUSAL_MS);
      }
    }
  }

  async #look(): Promise<void> {
    const isLost = (host: string): boolean => {
      const now = performance.now();
      const since = this.#gone.get(host) ?? now;
      this.#gone.set(host, since);
      const left = since + this.#marginMs - now;
      if (left > 0) this.#lookAgainIn(left);
      return left <= 0;
    };
    for (const { berth, explanation } of await this.#fleet.replaceLost(isLost)) {
      if (explanation.host === undefined) this.#lookAgainIn(AFTER_REFUSAL_MS);
      else this.#say(`${berth}, whose host is lost, goes to ${explanation.host}`);
    }
  }

  #lookAgainIn(ms: number): void {
    this.#next = Math.min(this.#next, performance.now() + ms);
  }
}
