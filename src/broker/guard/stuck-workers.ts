/** Workers that did not answer, were killed, and have not ended, by the key of who made them wait. */
import type { GuardWorker } from "./worker.ts";

/** Stuck workers of one user, from which on nothing more is received from it, or called for it. */
const MAX_STUCK = 8;

export class StuckWorkers {
  readonly #byKey = new Map<string, Set<GuardWorker>>();

  get count(): number {
    let count = 0;
    for (const workers of this.#byKey.values()) count += workers.size;
    return count;
  }

  isExhausted(key: string): boolean {
    return (this.#byKey.get(key)?.size ?? 0) >= MAX_STUCK;
  }

  add(key: string, worker: GuardWorker): void {
    const workers = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, workers.add(worker));
  }

  delete(key: string, worker: GuardWorker): void {
    const workers = this.#byKey.get(key);
    if (workers?.delete(worker) && workers.size === 0) this.#byKey.delete(key);
  }

  /** Lets go of processes that may never end. */
  forget(): void {
    for (const workers of this.#byKey.values()) for (const worker of workers) worker.forget();
    this.#byKey.clear();
  }
}
