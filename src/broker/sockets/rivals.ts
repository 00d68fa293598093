/**
 * Our own open sockets that no berth uses any more. They may have the address that a new socket needs, in another form.
 * It finds them by port or path, without looking at all of them for each address.
 */
import type { ListenAddress } from "../../net/address.ts";
import type { HeldSocket } from "./held-socket.ts";
import type { SocketOwner } from "./named-socket.ts";
import type { PassedSocket } from "./passed-socket.ts";

export class Rivals {
  /** Those that were closed. */
  readonly closed: Set<HeldSocket> = new Set();
  readonly #held: () => Map<string, HeldSocket[]>;
  readonly #passed: () => Map<string, PassedSocket[]>;

  /**
   * Sockets of `present` with a tenant stay open: the tenant has them too, so closing ours would free nothing. The same
   * holds for passed sockets of those berths.
   */
  constructor(unwanted: Iterable<HeldSocket>, unclaimed: readonly PassedSocket[], present: readonly SocketOwner[]) {
    this.#held = once(() => {
      const taken = new Set(present.filter(({ lease }) => lease !== undefined).flatMap(({ sockets }) => sockets));
      const kept = new Set(Array.from(taken, ({ socket }) => socket));
      return byPlace(
        [...unwanted].filter((socket) => !kept.has(socket)),
        ({ listen }) => placeOf(listen),
      );
    });
    this.#passed = once(() => {
      const taken = new Set(present.filter(({ lease }) => lease !== undefined).map(({ name }) => name));
      return byPlace(
        unclaimed.filter(({ stored }) => stored?.berth === undefined || !taken.has(stored.berth)),
        ({ is }) => (typeof is === "string" ? undefined : placeOf(is)),
      );
    });
  }

  /** Closes those at this port or path. */
  closeAt(listen: ListenAddress): void {
    const place = placeOf(listen);
    for (const rival of this.#held().get(place) ?? []) {
      rival.close();
      this.closed.add(rival);
    }
    this.#held().delete(place);
    for (const { storedCopy, handle } of this.#passed().get(place) ?? []) {
      storedCopy?.drop();
      handle.close();
    }
    this.#passed().delete(place);
  }
}

/** One port or path. */
function placeOf({ kind, address }: ListenAddress): string {
  return address.family === "unix" ? `unix ${address.path}` : `${kind} ${address.port}`;
}

function byPlace<T>(all: Iterable<T>, placeOf: (one: T) => string | undefined): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const one of all) {
    const place = placeOf(one);
    if (place === undefined) continue;
    const list = found.get(place);
    if (list === undefined) found.set(place, [one]);
    else list.push(one);
  }
  return found;
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
