/**
 * Images that this host gets from other hosts before it starts berths. Each image is fetched once, however many berths
 * want it. What fails is tried again, from the next host that had it.
 */
import type { TlsFiles } from "../../etcd/channel.ts";
import { aborted, sleep } from "../../etcd/follow.ts";
import { Fault } from "../../fault.ts";
import type { ImageFetch, ImageSource } from "../../model/image-fetch.ts";
import type { Assignment } from "../../model/placement.ts";
import { imageKey } from "../../store/image-path.ts";
import { type Archive, askForImage, type ChunkStore, fetchArchive } from "../../store/index.ts";
import type { StateSocket } from "../copies/state-socket.ts";
import type { HostImages } from "./host-images.ts";
import { Slots } from "./slots.ts";

export interface FetchTools {
  readonly store: ChunkStore;
  readonly tls: Required<TlsFiles>;
  readonly state: Pick<StateSocket, "upload">;
  readonly images: Pick<HostImages, "look" | "has">;
  /** How long one host may take, where another one has the image, too. */
  readonly longestMs?: number;
}

/** No failure: the host sends, but it takes long. */
class Slow extends Fault {}

/** What a berth that waits for its images says. */
export interface FetchReport {
  /** `problem`: no host that had the image could send it. It is tried again. */
  readonly state: "fetching" | "problem";
  readonly why: string;
}

interface Task {
  image: ImageFetch;
  readonly stop: AbortController;
  isThere: boolean;
  /** In percent. */
  done: number;
  /** How often it was tried. */
  tries: number;
  failures: number;
  why: string | undefined;
}

/** From one host, which lets one address have 40 connections: each fetch opens 8. One that is slow delays no other. */
const AT_ONCE_OF_HOST = 2;
/** A host makes one archive at a time: who asks for more of them only waits, with a connection for each. */
const ASKED_AT_ONCE = 2;
/** Images that are made of what came. */
const AT_ONCE_HERE = 2;
/** Then the next host that has the image is asked. What has come is kept. */
const LONGEST_OF_HOST_MS = 10 * 60_000;
/** What a host may take to make an archive. It reads and compresses faster. */
const SLOWEST_BYTES_PER_MS = 5_000;
const LEAST_MAKING_MS = 60_000;
/** From one chunk to the next. A stolen host could send nothing, and keep this host waiting. */
const LONGEST_STALL_MS = 120_000;
const FIRST_PAUSE_MS = 1_000;
const LAST_PAUSE_MS = 60_000;

export class ImageFetches {
  readonly #tools: FetchTools | undefined;
  readonly #changed: () => void;
  readonly #say: (sentence: string) => void;
  readonly #tasks = new Map<string, Task>();
  /** Each ends with its task. A task that was removed from `#tasks` may take a moment to end. */
  readonly #running = new Set<Promise<void>>();
  #wanted: readonly ImageFetch[] = [];
  #isRunning = false;
  readonly #here = new Slots(AT_ONCE_HERE);
  /** By host. */
  readonly #from = new Map<string, { readonly ask: Slots; readonly get: Slots }>();

  /** `changed` is called when there is something to report, or a berth can go on. */
  constructor(tools: FetchTools | undefined, changed: () => void, say: (sentence: string) => void) {
    this.#tools = tools;
    this.#changed = changed;
    this.#say = say;
  }

  /** The berths that this host shall have. */
  set wanted(all: readonly Assignment[]) {
    this.#wanted = all.flatMap(({ images = [] }) => images);
    if (this.#isRunning) this.#begin();
  }

  /** The host has other images than before: one that was removed is fetched again. */
  look(): void {
    for (const [key, { image, isThere }] of this.#tasks)
      if (isThere && !this.#tools?.images.has(image)) this.#tasks.delete(key);
    if (this.#isRunning) this.#begin();
  }

  /** Whether the berth has its images, as far as they were to be fetched. */
  isReady({ images = [] }: Assignment): boolean {
    return images.every((image) => this.#tasks.get(imageKey(image))?.isThere);
  }

  /** Undefined: it does not wait for an image. */
  reportOf({ images = [] }: Assignment): FetchReport | undefined {
    const image = images.find((one) => !this.#tasks.get(imageKey(one))?.isThere);
    if (image === undefined) return undefined;
    const { why, failures = 0, done = 0 } = this.#tasks.get(imageKey(image)) ?? {};
    const text = `image ${image.name}@${image.version}`;
    if (why === undefined) return { state: "fetching", why: `${text}, ${done} %` };
    const sentence = `${text} cannot be fetched: ${why}; trying again`;
    return { state: failures < image.sources.length ? "fetching" : "problem", why: sentence };
  }

  /** Until the signal; then also what it had begun has ended. */
  async run(signal: AbortSignal): Promise<void> {
    this.#isRunning = true;
    this.#begin();
    await aborted(signal);
    this.#isRunning = false;
    for (const { stop } of this.#tasks.values()) stop.abort();
    await Promise.all(this.#running);
  }

  #begin(): void {
    const wanted = new Map(this.#wanted.map((image) => [imageKey(image), image]));
    for (const [key, task] of this.#tasks) {
      const image = wanted.get(key);
      // A later placement knows the hosts of now.
      if (image !== undefined) task.image = image;
      else {
        task.stop.abort();
        this.#tasks.delete(key);
      }
    }
    for (const [key, image] of wanted) {
      if (this.#tasks.has(key)) continue;
      const stop = new AbortController();
      const task: Task = { image, stop, isThere: false, done: 0, tries: 0, failures: 0, why: undefined };
      this.#tasks.set(key, task);
      const running = this.#run(task, stop.signal).finally(() => this.#running.delete(running));
      this.#running.add(running);
    }
  }

  async #run(task: Task, signal: AbortSignal): Promise<void> {
    const at = Math.floor(Math.random() * task.image.sources.length);
    for (let pause = FIRST_PAUSE_MS; !signal.aborted; pause = Math.min(LAST_PAUSE_MS, pause * 2)) {
      try {
        await this.#fetch(task, at + task.tries++, signal);
        task.isThere = true;
        this.#changed();
        return;
      } catch (error) {
        if (signal.aborted) break;
        if (!(error instanceof Slow)) task.failures++;
        const why = error instanceof Fault ? error.message : String(error);
        if (why !== task.why) this.#say(`image ${task.image.name}@${task.image.version} cannot be fetched: ${why}`);
        task.why = why;
        task.done = 0;
        this.#changed();
      }
      await sleep(pause, signal);
    }
    // No berth here needs the image now, so its chunks can go. If the agent ends instead, the next agent prunes.
    if (this.#isRunning) await this.#prune();
  }

  async #fetch(task: Task, at: number, signal: AbortSignal): Promise<void> {
    const { image } = task;
    const { name, version, digest, sources } = image;
    const tools = this.#tools;
    if (tools === undefined) throw new Fault("COPY_FAILED", "this host's agent has no --state-socket and no --store");
    const { tls, images } = tools;
    const isThere = async (): Promise<boolean> => {
      const all = await images.look(signal);
      if (all === undefined) throw new Fault("STATE_REFUSED", "the program behind --state-socket lists no images");
      const found = all.find((one) => one.name === name && one.version === version);
      if (found === undefined || found.digest === digest) return found !== undefined;
      throw new Fault(
        "COPY_FAILED",
        `this host has another one, ${found.digest}; remove that first: berth image rm ${name}@${version}`,
      );
    };
    if (await isThere()) return;
    const source = sources[at % sources.length];
    if (source === undefined) throw new Fault("COPY_FAILED", "no host is named that has it");
    const longestMs = LEAST_MAKING_MS + image.bytes / SLOWEST_BYTES_PER_MS;
    const { ask, get } = this.#slotsOf(source);
    const archive = await ask.inTurn(() => askForImage(image, source, tls, longestMs, signal), signal);
    const bytes = await get.inTurn(() => this.#get(task, archive, source, tools, signal), signal);
    await this.#here.inTurn(() => make(image, archive, tools, signal), signal);
    // Somebody else may have imported another one meanwhile.
    if (!(await isThere())) throw new Fault("COPY_FAILED", "it was removed again");
    this.#say(`image ${name}@${version} is here, from ${source.host}: ${bytes} bytes were fetched`);
    await this.#prune();
  }

  #slotsOf({ host }: ImageSource): { readonly ask: Slots; readonly get: Slots } {
    const slots = this.#from.get(host) ?? { ask: new Slots(ASKED_AT_ONCE), get: new Slots(AT_ONCE_OF_HOST) };
    this.#from.set(host, slots);
    return slots;
  }

  async #prune(): Promise<void> {
    await this.#tools?.store.prune().catch((error: unknown) => this.#say(`cannot remove old archives: ${error}`));
  }

  /** Gets an archive that another host has. Resolves with the bytes that came from there. */
  async #get(
    task: Task,
    archive: Archive,
    source: ImageSource,
    { store, tls, longestMs = LONGEST_OF_HOST_MS }: FetchTools,
    signal: AbortSignal,
  ): Promise<number> {
    const ended = new AbortController();
    const end = (ms: number, why: Fault): NodeJS.Timeout => setTimeout(() => ended.abort(why), ms);
    const { host } = source;
    const stalled = end(
      LONGEST_STALL_MS,
      new Fault("STORE_UNREACHABLE", `${host} has sent nothing for ${LONGEST_STALL_MS / 1000} s`),
    );
    const isOnly = task.image.sources.every((one) => one.host === host && one.store === source.store);
    const late = isOnly
      ? undefined
      : end(longestMs, new Slow("STORE_UNREACHABLE", `${host} has not sent all in ${longestMs / 1000} s`));
    const progress = (_: number, share: number): void => {
      stalled.refresh();
      const done = Math.floor(share * 100);
      const isNew = done !== task.done || task.why !== undefined;
      [task.done, task.why] = [done, undefined];
      if (isNew) this.#changed();
    };
    try {
      const until = AbortSignal.any([signal, ended.signal]);
      return (await fetchArchive(archive, source, store, tls, { signal: until, progress })).bytes;
    } finally {
      clearTimeout(stalled);
      clearTimeout(late);
    }
  }
}

/** Makes an image of an archive that came. One that is refused goes: the next one may be another one as well. */
async function make(
  { name, version, digest }: ImageFetch,
  archive: Archive,
  { store, state }: FetchTools,
  signal: AbortSignal,
): Promise<void> {
  await using content = await store.read(archive.name, signal);
  try {
    await state.upload({ method: "ImportImage", image: name, version, digest }, content, signal);
  } catch (error) {
    if (error instanceof Fault && error.code === "BAD_ARCHIVE") await store.drop(archive.name);
    throw error;
  }
}
