/** Doormen that were killed and have not ended yet: they still have copies of sockets. */
import type { DoormanProcess } from "./doorman-process.ts";

/** How long to wait for an end at most. A server can hold up a call of a doorman, and with that its end. */
export const END_MS = 1000;

export class EndingDoormen {
  readonly #all = new Set<DoormanProcess>();
  /** Those that have not ended in time. Nobody waits for them again. */
  readonly #stuck = new WeakSet<DoormanProcess>();

  get all(): readonly DoormanProcess[] {
    return [...this.#all];
  }

  /** Whether nobody has to wait for one. */
  get isClear(): boolean {
    return this.all.every((process) => this.#stuck.has(process));
  }

  add(process: DoormanProcess): void {
    this.#all.add(process);
  }

  ended(process: DoormanProcess): void {
    this.#all.delete(process);
  }

  /** Those that are left are not waited for any more. */
  giveUp(): void {
    for (const process of this.#all) this.#stuck.add(process);
  }

  /** Waits until they have ended, for {@link END_MS} at most, and the event loop with it. */
  await(): void {
    const deadline = performance.now() + END_MS;
    for (const process of this.#all) {
      if (!this.#stuck.has(process)) process.awaitEnd(Math.max(0, Math.ceil(deadline - performance.now())));
    }
    if (performance.now() >= deadline) this.giveUp();
  }
}
