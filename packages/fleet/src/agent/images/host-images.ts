/** Which images this host has, and how much room for others. Asked of the program behind --state-socket. */
import { readdirSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../../etcd/follow.ts";
import { Fault } from "../../fault.ts";
import type { ImageTree } from "../../model/host.ts";
import type { ImageName } from "../../store/image-path.ts";
import type { ImageList, StateSocket } from "../copies/state-socket.ts";

/** What the host's record says of images. */
export interface ImageStock {
  readonly images: readonly ImageTree[];
  /** Bytes of an image that has room here. */
  readonly room: number;
}

const LOOK_MS = 1_000;
/**
 * The program is asked at least so often, also if its folder looks as before. If it does not answer, it is asked again
 * after a pause that doubles up to this.
 */
const ASK_MS = 5 * 60_000;
/** The host's record in etcd names no more, so that it stays short. */
const MOST_IMAGES = 256;
/** The archive in chunks, the archive as one file, and the image. They may be on one disk. */
const COPIES = 3;

export class HostImages {
  readonly #state: Pick<StateSocket, "images">;
  readonly #store: { readonly folder: string; readonly mostBytes: number };
  readonly #changed: () => void;
  readonly #say: (sentence: string) => void;
  #list: ImageList | undefined;
  #signature = "";
  /** When to ask again in any case, by performance.now(). */
  #next = 0;
  #pause = LOOK_MS;
  /** Why the program did not answer last. Empty: it did, or was never asked. */
  #said = "";

  /** `store`: where archives are. `changed` is called when the host has other images. */
  constructor(
    state: Pick<StateSocket, "images">,
    store: { readonly folder: string; readonly mostBytes: number },
    changed: () => void,
    say: (sentence: string) => void,
  ) {
    this.#state = state;
    this.#store = store;
    this.#changed = changed;
    this.#say = say;
  }

  /** As the program last said. Undefined: it has never answered. */
  get stock(): ImageStock | undefined {
    if (this.#list === undefined) return undefined;
    const { folder, room, images } = this.#list;
    const free = Math.min(freeIn(folder) ?? room, freeIn(this.#store.folder) ?? 0);
    return { images: images.slice(0, MOST_IMAGES), room: rounded(Math.min(free / COPIES, this.#store.mostBytes)) };
  }

  has({ name, version, digest }: ImageName): boolean {
    const images = this.#list?.images ?? [];
    return images.some((one) => one.name === name && one.version === version && one.digest === digest);
  }

  /** Before the host says anything of itself. Waits so many milliseconds at most: the host's lease must be kept. */
  async first(mostMs: number, signal: AbortSignal): Promise<void> {
    const late = AbortSignal.timeout(Math.ceil(mostMs));
    await this.look(AbortSignal.any([signal, late]));
    if (late.aborted) this.#tell("the program behind --state-socket does not answer");
  }

  async run(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await sleep(LOOK_MS, signal)) if (this.#isDue()) await this.look(signal);
  }

  #isDue(): boolean {
    if (performance.now() >= this.#next) return true;
    return this.#said === "" && this.#list !== undefined && signatureOf(this.#list.folder) !== this.#signature;
  }

  /**
   * Asks now. Resolves with all images; undefined: the program does not answer, or the signal has ended it. Then the
   * former list stays: a program that does not answer removes no image.
   */
  async look(signal: AbortSignal): Promise<readonly ImageTree[] | undefined> {
    // What changes from here on is seen by the next look.
    const signature = this.#list && signatureOf(this.#list.folder);
    let list: ImageList;
    try {
      list = await this.#state.images(signal);
    } catch (error) {
      // The agent ends, or the berth that asked is gone: that says nothing of the program.
      if (signal.aborted) return undefined;
      if (!(error instanceof Fault)) throw error;
      this.#pause = Math.min(ASK_MS, this.#pause * 2);
      this.#next = performance.now() + this.#pause;
      this.#tell(error.message);
      return undefined;
    }
    this.#pause = LOOK_MS;
    this.#next = performance.now() + ASK_MS;
    this.#said = "";
    const before = JSON.stringify(this.#list?.images);
    this.#signature = signature ?? signatureOf(list.folder);
    this.#list = list;
    if (JSON.stringify(list.images) !== before) this.#changed();
    return list.images;
  }

  #tell(problem: string): void {
    const why = `it is not known which images this host has: ${problem}`;
    if (why !== this.#said) this.#say(why);
    this.#said = why;
  }
}

/** Another text when an image was imported or removed. Empty where we may not look. */
function signatureOf(folder: string): string {
  try {
    const names = readdirSync(folder, { withFileTypes: true }).filter(
      (one) => one.isDirectory() && one.name[0] !== ".",
    );
    return names
      .map(({ name }) => `${name} ${statSync(join(folder, name)).mtimeMs}`)
      .sort()
      .join("\n");
  } catch {
    return "";
  }
}

function freeIn(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** Down to a whole eighth of a power of two: the host's record does not change with every file. */
function rounded(bytes: number): number {
  if (bytes < 8) return 0;
  const step = 2 ** Math.floor(Math.log2(bytes)) / 8;
  return Math.floor(bytes / step) * step;
}
