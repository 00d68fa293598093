/**
 * Long work in small pieces: at most a slice of it in each turn of the event loop, a piece of each job in turn. So a
 * client that asks for everything, or many of them, delay other calls by a slice.
 */

/** One piece of a job. Returns whether there is more to do. */
export type Piece = () => boolean;

/** Milliseconds of such work before the event loop looks for new messages. */
const SLICE_MS = 1;

export class Slices {
  readonly #jobs = new Set<Piece>();
  #scheduledAt = 0;
  #isScheduled = false;
  /** Milliseconds that the event loop took at last to come back to this work: other work kept it. */
  delay = 0;

  /** Does `piece` again and again, until it returns false. */
  add(piece: Piece): void {
    this.#jobs.add(piece);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#scheduledAt = performance.now();
    setImmediate(() => this.#run());
  }

  #run(): void {
    const start = performance.now();
    this.delay = start - this.#scheduledAt;
    do {
      const [piece] = this.#jobs;
      if (piece === undefined) break;
      this.#jobs.delete(piece);
      if (piece()) this.#jobs.add(piece);
    } while (performance.now() - start < SLICE_MS);
    // Not before: what a piece adds now must not count this slice as a delay.
    this.#isScheduled = false;
    if (this.#jobs.size > 0) this.#schedule();
  }
}
