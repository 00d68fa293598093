/** Writes to the history that this host has joined, and that another one is silent. */
import type { Etcd } from "../etcd/etcd.ts";
import { follow } from "../etcd/follow.ts";
import { Fault } from "../fault.ts";
import { eventChange, pruneSometimes } from "../fleet/events.ts";
import type { Keys } from "../model/keys.ts";
import { unlessDenied } from "./denied.ts";

export class HostEvents {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #host: string;

  constructor(etcd: Etcd, keys: Keys, host: string) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#host = host;
  }

  /** This host has a new lease. */
  joined(): void {
    void this.#write("joined", this.#host);
  }

  /** Each host looks after the one before it, so one host writes of each that is silent. */
  async run(signal: AbortSignal): Promise<void> {
    await unlessDenied(this.#follow(signal), () => undefined);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const present = new Set<string>();
    for await (const one of follow(this.#etcd, { prefix: this.#keys.all("host") }, signal)) {
      if (one.kind === "all") {
        present.clear();
        for (const { key } of one.entries) present.add(this.#keys.nameIn(key));
      }
      for (const event of one.kind === "changes" ? one.events : []) {
        if (event.kind === "put") present.add(this.#keys.nameIn(event.entry.key));
        else {
          const host = this.#keys.nameIn(event.key);
          present.delete(host);
          // The id has the revision: if two hosts write the event, there is still one.
          if (nextOf(host, present) === this.#host)
            await this.#write("silent", host, `silent-${host}-${event.revision}`);
        }
      }
    }
  }

  /** The history is no reason to end: what cannot be written is left out. */
  async #write(kind: "joined" | "silent", host: string, id?: string): Promise<void> {
    try {
      await this.#etcd.commit([], [eventChange(this.#keys, kind, { host }, id)]);
      await pruneSometimes(this.#etcd, this.#keys);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
  }
}

/** The host whose name comes next, in a circle. */
function nextOf(host: string, present: ReadonlySet<string>): string | undefined {
  const names = [...present].sort();
  return names.find((name) => name > host) ?? names[0];
}
