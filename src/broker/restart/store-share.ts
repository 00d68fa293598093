/**
 * How much of the service manager's store stashes may take: what sockets, leases and roots never need. So no tenant
 * can make the broker lose a lease by what it stashes. It only counts.
 */
import { type DescriptorStore, MAX_NAMES_BYTES } from "../../systemd/fd-store.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Berths } from "../berths/berths.ts";

/** Bytes that the names of all stored stashes may have together. The other half is for all other names. */
const STASH_NAMES_BYTES = MAX_NAMES_BYTES / 2;

export class StashShare {
  readonly #store: Pick<DescriptorStore, "max">;
  readonly #berths: Pick<Berths, "all">;
  #stored = 0;
  #nameBytes = 0;
  /** What everything else needs, until this turn of the event loop ends: many stashes are stored in one. */
  #needed: number | undefined;

  constructor(store: Pick<DescriptorStore, "max">, berths: Pick<Berths, "all">) {
    this.#store = store;
    this.#berths = berths;
  }

  /** Whether the store may keep one more stash, of that name. */
  hasRoom(name: string): boolean {
    if (this.#store.max === Number.POSITIVE_INFINITY) return true;
    if (this.#nameBytes + name.length + 1 > STASH_NAMES_BYTES) return false;
    if (this.#needed === undefined) {
      this.#needed = neededBesideStashes(this.#berths.all());
      queueMicrotask(() => (this.#needed = undefined));
    }
    return this.#stored < this.#store.max - this.#needed;
  }

  add(name: string): void {
    this.#stored++;
    this.#nameBytes += name.length + 1;
  }

  remove(name: string): void {
    this.#stored--;
    this.#nameBytes -= name.length + 1;
  }
}

/** The most descriptors that the berths have stored at once: sockets, and those of leases, handovers and roots. */
function neededBesideStashes(berths: Iterable<Berth>): number {
  let need = 2; // the control socket and the notify socket
  for (const { spec, sockets, aside } of berths)
    need += sockets.length + aside.length + 2 * (spec.server.deliver.includes("bind") ? 4 : 2) + (spec.root ? 2 : 0);
  return need;
}

/** The line to write into the unit. Half as much again leaves room for stashes. */
export function storeAdvice(berths: readonly Berth[]): string {
  const stashes = berths.reduce((sum, { stash }) => sum + stash.size, 0);
  const need = neededBesideStashes(berths) + stashes;
  return `set FileDescriptorStoreMax=${Math.ceil((need * 1.5) / 64) * 64} in its unit`;
}
