/** Answers that are computed for the first who asks, and are good for all who ask within some time. */
export class Kept<T> {
  readonly #keepMs: number;
  readonly #answers = new Map<string, { readonly at: number; readonly answer: Promise<T> }>();

  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  /** A failure is not kept. */
  of(key: string, compute: () => Promise<T>): Promise<T> {
    const now = Date.now();
    const known = this.#answers.get(key);
    if (known !== undefined && now - known.at < this.#keepMs) return known.answer;
    // Berths come and go.
    if (this.#answers.size > 2_000) this.#answers.clear();
    const answer = compute();
    this.#answers.set(key, { at: now, answer });
    answer.catch(() => this.#answers.delete(key));
    return answer;
  }
}
