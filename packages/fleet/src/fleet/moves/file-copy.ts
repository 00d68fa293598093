/**
 * A berth's files on their way to another host. Both hosts get orders under one lease of ours: when this program ends,
 * they end what they do, and the one that gets the files has changed nothing unless it has them all.
 */
import { randomBytes } from "node:crypto";
import type { Etcd } from "../../etcd/etcd.ts";
import { follow } from "../../etcd/follow.ts";
import type { Change, Condition } from "../../etcd/messages.ts";
import { Fault } from "../../fault.ts";
import {
  type CopyOrder,
  type CopyReport,
  type CopyTask,
  copyReport,
  type ImageVersion,
  type Offer,
} from "../../model/copy.ts";
import type { JsonObject } from "../../model/fields.ts";
import type { Keys } from "../../model/keys.ts";
import type { Placement } from "../../model/placement.ts";
import type { Archive } from "../../store/store.ts";
import { type Kept, readable } from "../view.ts";
import { bytesText, imagesOf, type Sent } from "./copied-text.ts";
import { KeptLease } from "./kept-lease.ts";

/** A host that takes part, and ADDRESS:PORT of its store. */
export interface End {
  readonly host: string;
  readonly store: string;
}

export interface CopyOptions {
  /** Of the berth file that the other host gets. */
  readonly root: JsonObject;
  readonly signal: AbortSignal;
  readonly say: (sentence: string) => void;
}

/** A host that works says so every second. */
const SILENT_MS = 60_000;

export class FileCopy implements AsyncDisposable {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #placed: Placement;
  readonly #from: End;
  readonly #to: End;
  readonly #options: CopyOptions;
  readonly #lease: KeptLease;
  readonly #id: string;
  /** Nobody waits for a host any more. */
  readonly #over = new AbortController();
  #step = 1;
  #mayFail = false;
  #sent: Sent = { archive: 0, before: 0, after: 0, images: 0 };
  /** Of the report that the files are in place. */
  #restored = 0;

  private constructor(
    etcd: Etcd,
    keys: Keys,
    placed: Placement,
    from: End,
    to: End,
    options: CopyOptions,
    lease: KeptLease,
    id: string,
  ) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#placed = placed;
    this.#from = from;
    this.#to = to;
    this.#options = options;
    this.#lease = lease;
    this.#id = id;
  }

  /** Sends what the berth has while its server runs. Throws NOT_MOVED. */
  static async begin(
    etcd: Etcd,
    keys: Keys,
    { record, revision }: Kept<Placement>,
    from: End,
    to: End,
    options: CopyOptions,
  ): Promise<FileCopy> {
    const { berth } = record;
    const lease = await KeptLease.take(etcd);
    const copy = new FileCopy(etcd, keys, record, from, to, options, lease, randomBytes(8).toString("hex"));
    try {
      const ends = [from, to].map(({ host }) => host);
      const conditions: Condition[] = [
        { key: keys.of({ kind: "hold", host: from.host, berth }), revision: 0 },
        { key: keys.of({ kind: "placement", berth }), revision },
        ...ends.map((host) => ({ key: keys.of({ kind: "copy", host, berth }), revision: 0 })),
        ...ends.map((host) => ({ key: keys.of({ kind: "host", host }), present: true }) as const),
      ];
      const save = copy.#put(from, { do: "save" });
      const images = copy.#put(to, { do: "prepare", images: imagesOf(options.root), root: options.root });
      const { done } = await etcd.commit(conditions, [save, images]);
      if (!done)
        throw new Fault("NOT_MOVED", `${berth} is being moved already, or it has changed, or a host of it is silent`);
      await copy.#before();
      return copy;
    } catch (error) {
      await copy[Symbol.asyncDispose]();
      throw error;
    }
  }

  get sent(): Sent {
    return this.#sent;
  }

  /** Aborted when etcd has ended the orders. */
  get lost(): AbortSignal {
    return this.#lease.lost;
  }

  /** For the transaction that gives the berth away: the other host has the files, and the orders hold. */
  get conditions(): readonly Condition[] {
    const { berth } = this.#placed;
    const { host } = this.#to;
    return [
      { key: this.#keyOf(this.#from), present: true },
      { key: this.#keyOf(this.#to), present: true },
      { key: this.#keys.of({ kind: "copied", host, berth }), revision: this.#restored },
    ];
  }

  /** For the same transaction. */
  get changes(): readonly Change[] {
    return [{ remove: { key: this.#keyOf(this.#from) } }, { remove: { key: this.#keyOf(this.#to) } }];
  }

  async #before(): Promise<void> {
    const { say } = this.#options;
    const { berth } = this.#placed;
    const [saved, lacking] = await Promise.all([this.#wait(this.#from), this.#wait(this.#to)]);
    for (const image of lacking.record.images ?? []) await this.#sendImage(image);
    const offer = this.#offer(saved.record);
    say(`${berth}: sending ${bytesText(offer.bytes)} to ${this.#to.host}, while the server runs`);
    const { fetched } = (await this.#order(this.#to, { do: "fetch", offer }, offer)).record;
    this.#sent = { ...this.#sent, before: fetched };
    say(`${berth}: ${bytesText(fetched)} were missing on ${this.#to.host}, and are there`);
  }

  async #sendImage(image: ImageVersion): Promise<void> {
    const { say } = this.#options;
    const about = `${this.#placed.berth}: the image ${image.name}@${image.version}`;
    const exported = await this.#try(this.#from, { do: "export", image });
    // The other host may have it nevertheless. If not, the files do not get their place there.
    if (exported.state === "failed") return say(`${about} was not sent: ${this.#from.host}: ${exported.why}`);
    const offer = this.#offer(exported);
    say(`${about} goes to ${this.#to.host}: ${bytesText(offer.bytes)}`);
    const { fetched } = (await this.#order(this.#to, { do: "import", offer, image }, offer)).record;
    this.#sent = { ...this.#sent, images: this.#sent.images + fetched };
  }

  /** Once the first host holds the berth: sends what has changed, and puts the files in place. Throws NOT_MOVED. */
  async finish(): Promise<void> {
    const { root, say } = this.#options;
    const { berth } = this.#placed;
    const offer = this.#offer((await this.#order(this.#from, { do: "save-last" })).record);
    const { record, revision } = await this.#order(this.#to, { do: "restore", offer, root }, offer);
    this.#sent = { ...this.#sent, archive: offer.bytes, after: record.fetched };
    this.#restored = revision;
    say(`${berth}: ${this.#to.host} has its files; ${bytesText(record.fetched)} had changed`);
  }

  #keyOf({ host }: End): string {
    return this.#keys.of({ kind: "copy", host, berth: this.#placed.berth });
  }

  #put(end: End, task: CopyTask): Change {
    const { berth, generation } = this.#placed;
    const order: CopyOrder = { berth, generation, id: this.#id, step: this.#step, task };
    return { put: this.#keyOf(end), value: JSON.stringify(order), lease: this.#lease.id };
  }

  #offer({ archive }: CopyReport): Offer {
    if (archive === undefined) throw this.#fault(`${this.#from.host} has made no archive`);
    return { ...archive, ...this.#from };
  }

  async #order(end: End, task: CopyTask, progress?: Archive): Promise<Kept<CopyReport>> {
    this.#step++;
    const { done } = await this.#etcd.commit([{ key: this.#keyOf(end), present: true }], [this.#put(end, task)]);
    if (!done) throw this.#fault("etcd did not answer for too long");
    return await this.#wait(end, progress);
  }

  /** As {@link #order}, where the host may fail. */
  async #try(end: End, task: CopyTask): Promise<CopyReport> {
    this.#mayFail = true;
    try {
      return (await this.#order(end, task)).record;
    } finally {
      this.#mayFail = false;
    }
  }

  /** Until the host has done the newest order. Throws NOT_MOVED. */
  async #wait({ host }: End, progress?: Archive): Promise<Kept<CopyReport>> {
    const { signal, say } = this.#options;
    const { berth } = this.#placed;
    const key = this.#keys.of({ kind: "copied", host, berth });
    const step = this.#step;
    const silent = new AbortController();
    const timer = setTimeout(() => silent.abort(), SILENT_MS);
    const until = AbortSignal.any([signal, this.lost, silent.signal, this.#over.signal]);
    let tenths = 0;
    try {
      for await (const one of follow(this.#etcd, { key }, until)) {
        if (one.kind === "lost" || one.kind === "back") continue;
        const entries =
          one.kind === "all" ? one.entries : one.events.flatMap((event) => (event.kind === "put" ? event.entry : []));
        for (const entry of entries) {
          timer.refresh();
          const report = readable(key, entry.value, copyReport, () => undefined);
          if (report?.id !== this.#id || report.step !== step) continue;
          if (report.state === "done") return { record: report, revision: entry.revision };
          if (report.state === "failed" && this.#mayFail) return { record: report, revision: entry.revision };
          if (report.state === "failed") throw this.#fault(`${host}: ${report.why ?? "it has failed"}`);
          const now = progress === undefined ? 0 : Math.floor((report.fetched * 10) / (progress.bytes + 1));
          if (now > tenths)
            say(`${berth}: ${host} has ${bytesText(report.fetched)} of ${bytesText(progress?.bytes ?? 0)}`);
          tenths = Math.max(now, tenths);
        }
      }
    } finally {
      clearTimeout(timer);
    }
    if (signal.aborted) throw this.#fault("the move was ended");
    if (this.lost.aborted) throw this.#fault("etcd did not answer for too long");
    throw this.#fault(`${host} does not answer`);
  }

  #fault(why: string): Fault {
    const { berth, host } = this.#placed;
    return new Fault("NOT_MOVED", `${berth} stays on ${host}: ${why}`);
  }

  /** Both hosts end what they do. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#lease[Symbol.asyncDispose]();
  }
}
