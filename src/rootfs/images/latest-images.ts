/**
 * What the references of roots mean now: whether a root is of older versions. A version is looked up once a second at
 * most, because a list of many berths asks for each of them.
 */
import { type ImageTree, labelOf } from "./image-source.ts";

const FRESH_MS = 1000;

/** As ImageSource finds them. */
interface Finder {
  resolve(reference: string): ImageTree | { readonly problem: string };
}

export class LatestImages {
  readonly #images: Finder;
  readonly #now: () => number;
  #labels = new Map<string, string>();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(images: Finder, now: () => number = () => performance.now()) {
    this.#images = images;
    this.#now = now;
  }

  /** For each reference `NAME@VERSION` or a path. Undefined if one of them means nothing now. */
  labels(references: readonly string[]): readonly string[] | undefined {
    const now = this.#now();
    if (now - this.#readAt >= FRESH_MS) {
      this.#labels = new Map();
      this.#readAt = now;
    }
    const labels: string[] = [];
    for (const reference of references) {
      const known = this.#labels.get(reference) ?? this.#look(reference);
      if (known === undefined) return undefined;
      this.#labels.set(reference, known);
      labels.push(known);
    }
    return labels;
  }

  #look(reference: string): string | undefined {
    const found = this.#images.resolve(reference);
    return "problem" in found ? undefined : labelOf(found);
  }
}
