/** Makes archives of this host's images for other agents: one at a time, and each once while the store keeps it. */
import { Fault } from "../../fault.ts";
import { type ImageName, imageKey, imageSubject } from "../../store/image-path.ts";
import type { ImageShelf } from "../../store/serve.ts";
import type { Archive, ChunkStore } from "../../store/store.ts";
import type { StateSocket } from "../copies/state-socket.ts";
import type { HostImages } from "./host-images.ts";

/** Until an image whose archive has failed is tried again. */
const AFTER_FAILURE_MS = 30_000;

export class ImageOffers implements ImageShelf {
  readonly #state: Pick<StateSocket, "download">;
  readonly #store: ChunkStore;
  readonly #images: Pick<HostImages, "has">;
  readonly #say: (sentence: string) => void;
  readonly #signal: AbortSignal;
  readonly #made = new Map<string, Archive>();
  readonly #making = new Set<string>();
  /** When it failed, by performance.now(). */
  readonly #failed = new Map<string, number>();
  #last: Promise<void> = Promise.resolve();

  /** The signal ends what is being made. */
  constructor(
    state: Pick<StateSocket, "download">,
    store: ChunkStore,
    images: Pick<HostImages, "has">,
    say: (sentence: string) => void,
    signal: AbortSignal,
  ) {
    this.#state = state;
    this.#store = store;
    this.#images = images;
    this.#say = say;
    this.#signal = signal;
  }

  /** Only of an image that is here: so there is never more to do than this host has images. */
  async archiveOf(image: ImageName): Promise<Archive | "making" | "failed" | undefined> {
    if (!this.#images.has(image)) return undefined;
    const key = imageKey(image);
    const made = this.#made.get(key);
    if (made !== undefined && (await this.#store.has(made.name))) return made;
    if (this.#making.has(key)) return "making";
    if (performance.now() < (this.#failed.get(key) ?? Number.NEGATIVE_INFINITY) + AFTER_FAILURE_MS) return "failed";
    this.#making.add(key);
    this.#last = this.#last.then(() => this.#make(image, key));
    return "making";
  }

  /** Resolves when nothing is being made any more. */
  async ended(): Promise<void> {
    await this.#last;
  }

  async #make({ name, version }: ImageName, key: string): Promise<void> {
    try {
      const content = this.#state.download({ method: "ExportImage", image: name, version }, this.#signal);
      this.#made.set(key, await this.#store.add(imageSubject({ name, version }), content, this.#signal));
      this.#failed.delete(key);
    } catch (error) {
      if (this.#signal.aborted) return;
      this.#failed.set(key, performance.now());
      const why = error instanceof Fault ? error.message : String(error);
      this.#say(`image ${name}@${version} cannot be sent to other hosts: ${why}`);
    } finally {
      this.#making.delete(key);
    }
    await this.#store.prune().catch((error: unknown) => this.#say(`cannot remove old archives: ${error}`));
  }
}
