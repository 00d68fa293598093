/**
 * Holds the snapshot of a takeover until it is sent: the descriptors that would go into a service manager's store,
 * under the same names. It sends nothing.
 */
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { PassedFd } from "../../systemd/activation.ts";
import type { DescriptorStore } from "../../systemd/fd-store.ts";

export class TakeoverStore implements DescriptorStore {
  readonly max: number = Number.POSITIVE_INFINITY;
  readonly #sys: Native;
  #stored: PassedFd[] = [];

  constructor(sys: Native) {
    this.#sys = sys;
  }

  get count(): number {
    return this.#stored.length;
  }

  has(name: string): boolean {
    return this.#stored.some((stored) => stored.name === name);
  }

  /** Nothing ever comes back from it. */
  recall(): void {}

  /** Stores duplicates. Throws SYSTEM_ERROR when there is no room for them. */
  add(name: string, fds: readonly number[]): undefined {
    for (const fd of fds) {
      // Closing a stashed descriptor can take long.
      const copy = check("fcntl F_DUPFD_CLOEXEC", this.#sys.dup(fd));
      this.#stored.push({ name, handle: FdHandle.adoptForeign(copy, this.#sys) });
    }
  }

  remove(name: string): void {
    for (const stored of this.#stored) if (stored.name === name) stored.handle.close();
    this.#stored = this.#stored.filter((stored) => stored.name !== name);
  }

  settle(): boolean {
    return true;
  }

  /** All of it, in parts of at most `size`; the caller owns it. */
  take(size: number): PassedFd[][] {
    const stored = this.#stored;
    this.#stored = [];
    return Array.from({ length: Math.ceil(stored.length / size) }, (_, nth) =>
      stored.slice(nth * size, (nth + 1) * size),
    );
  }

  close(): void {
    for (const { handle } of this.#stored.splice(0)) handle.close();
  }
}
