/**
 * Places the berths of lost hosts elsewhere, those whose set says so. The agent that has the {@link Claim} does it; the
 * others watch, and do not read the fleet.
 */
import { type Etcd, isUnreachable } from "../etcd/etcd.ts";
import { follow, sleep } from "../etcd/follow.ts";
import { Fault } from "../fault.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Keys } from "../model/keys.ts";
import { Claim } from "./claim.ts";
import { unlessDenied } from "./denied.ts";

export interface LostHostsOptions {
  /** A host is lost so long after its lease has ended: its agent may only be restarting. */
  readonly marginMs: number;
  /** Of the one who looks after lost hosts. Undefined: there is none now. */
  readonly lease: () => bigint | undefined;
  /** For people. */
  readonly say: (sentence: string) => void;
  /** How long another one may have the claim without a result. */
  readonly patienceMs?: number;
}

const PAUSE_MS = 500;
/** Until berths that no host could take are tried again. */
const AFTER_REFUSAL_MS = 15_000;

export class LostHosts {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #fleet: Fleet;
  readonly #marginMs: number;
  readonly #say: (sentence: string) => void;
  readonly #claim: Claim;
  /** Since when each host is gone, by performance.now(). */
  readonly #gone = new Map<string, number>();
  /** When the fleet is read again; it is large, so not without a reason. */
  #next = Number.POSITIVE_INFINITY;
  /** Since when that is due. */
  #since = 0;
  #knowsHosts = false;
  /** Of the last host that has gone. */
  #revision = 0;

  constructor(etcd: Etcd, keys: Keys, fleet: Fleet, { marginMs, lease, say, patienceMs }: LostHostsOptions) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#fleet = fleet;
    this.#marginMs = marginMs;
    this.#say = say;
    this.#claim = new Claim(etcd, keys, lease, () => this.#claimed(), patienceMs);
  }

  /** Until the signal, or until etcd denies it: an agent may have no right to change what other hosts have. */
  async run(signal: AbortSignal): Promise<void> {
    const denied = new AbortController();
    const until = AbortSignal.any([signal, denied.signal]);
    const told = ({ message }: Fault): void => {
      if (!denied.signal.aborted) this.#say(`berths of lost hosts are placed by others: ${message}`);
      denied.abort();
    };
    const parts = [this.#follow(until), this.#claim.run(until), this.#replace(until)];
    await Promise.all(parts.map((part) => unlessDenied(part, told)));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const one of follow(this.#etcd, { prefix: this.#keys.all("host") }, signal)) {
      if (one.kind === "lost") {
        // Hosts could not keep their leases either: they get the whole margin again.
        this.#gone.clear();
        this.#next = Number.POSITIVE_INFINITY;
        this.#knowsHosts = false;
        continue;
      }
      if (one.kind === "all") for (const { key } of one.entries) this.#gone.delete(this.#keys.nameIn(key));
      for (const event of one.kind === "changes" ? one.events : []) {
        if (event.kind === "put") this.#gone.delete(this.#keys.nameIn(event.entry.key));
        else {
          this.#gone.set(this.#keys.nameIn(event.key), performance.now());
          this.#revision = Math.max(this.#revision, event.revision);
          this.#lookIn(this.#marginMs);
        }
      }
      this.#knowsHosts = true;
      // What has happened before is not known.
      if (one.kind !== "changes") this.#lookIn(0);
    }
  }

  /** Somebody else has the claim, or had it: then what it knew is to be found out again. */
  #claimed(): void {
    if (this.#knowsHosts && !this.#claim.isOurs) this.#lookIn(0);
  }

  async #replace(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await sleep(PAUSE_MS, signal)) {
      if (performance.now() < this.#next) continue;
      try {
        if (!(await this.#isUpToUs())) continue;
        this.#next = Number.POSITIVE_INFINITY;
        await this.#look();
      } catch (error) {
        if (!(error instanceof Fault) || error.code === "ETCD_DENIED") throw error;
        if (!isUnreachable(error)) this.#say(error.message);
        this.#lookIn(AFTER_REFUSAL_MS);
      }
    }
  }

  /** Whether we have the claim, or get it. Nothing is due if another one has done what was to do. */
  async #isUpToUs(): Promise<boolean> {
    if (!this.#claim.isOurs && this.#claim.isDone(this.#revision)) {
      this.#next = Number.POSITIVE_INFINITY;
      return false;
    }
    return this.#claim.wait(this.#since) <= 0 && (await this.#claim.take());
  }

  async #look(): Promise<void> {
    const revision = this.#revision;
    let isWaiting = false;
    const isLost = (host: string): boolean => {
      const now = performance.now();
      const since = this.#gone.get(host) ?? now;
      this.#gone.set(host, since);
      const left = since + this.#marginMs - now;
      if (left > 0) this.#lookIn(left);
      if (left > 0) isWaiting = true;
      return left <= 0;
    };
    for (const { berth, explanation } of await this.#fleet.replaceLost(isLost)) {
      if (explanation.host === undefined) this.#lookIn(AFTER_REFUSAL_MS);
      else this.#say(`${berth}, whose host is lost, goes to ${explanation.host}`);
    }
    if (!isWaiting) await this.#claim.tell(revision);
  }

  #lookIn(ms: number): void {
    const next = performance.now() + ms;
    if (next >= this.#next) return;
    this.#next = next;
    this.#since = next;
  }
}
