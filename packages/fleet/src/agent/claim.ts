/**
 * Which agent looks after lost hosts: the one that has the claim, a key under its lease. The others then do not read
 * the fleet. It only saves work: transactions decide what is placed. A claim ends with its agent, and is taken over
 * from an agent that has it and does not look.
 */
import { randomBytes } from "node:crypto";
import type { Etcd } from "../etcd/etcd.ts";
import { follow } from "../etcd/follow.ts";
import type { Entry } from "../etcd/messages.ts";
import { Fault } from "../fault.ts";
import { Fields, fromJson, integer, type Reader, text } from "../model/fields.ts";
import type { Keys } from "../model/keys.ts";

interface ClaimRecord {
  /** Of the one who has it. */
  readonly id: string;
  /** The revision at which the last host had gone whose berths were looked after. */
  readonly done: number;
}

const claimRecord: Reader<ClaimRecord> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    id: fields.get("id", text(/^[0-9a-f]{16}$/, "an id")),
    done: fields.get("done", integer(0, Number.MAX_SAFE_INTEGER)),
  };
};

/** Time for the one who has the claim: 100,000 berths are read in some seconds, and placed at 14 a second. */
const PATIENCE_MS = 30_000;

export class Claim {
  readonly #etcd: Etcd;
  readonly #key: string;
  readonly #lease: () => bigint | undefined;
  readonly #changed: () => void;
  readonly #patienceMs: number;
  readonly #id = randomBytes(8).toString("hex");
  /** As etcd last said. Revision 0: nobody has it. Undefined: not known. */
  #revision: number | undefined;
  #record: ClaimRecord | undefined;
  /** Since when it is as it is, by performance.now(). */
  #since = 0;

  /** `lease`: ours; undefined: we claim nothing now. `changed` is called when another one has or had it. */
  constructor(
    etcd: Etcd,
    keys: Keys,
    lease: () => bigint | undefined,
    changed: () => void,
    patienceMs: number = PATIENCE_MS,
  ) {
    this.#etcd = etcd;
    this.#key = keys.of({ kind: "claim" });
    this.#lease = lease;
    this.#changed = changed;
    this.#patienceMs = patienceMs;
  }

  async run(signal: AbortSignal): Promise<void> {
    for await (const one of follow(this.#etcd, { key: this.#key }, signal)) {
      if (one.kind === "all") this.#set(one.entries[0]);
      for (const event of one.kind === "changes" ? one.events : [])
        this.#set(event.kind === "put" ? event.entry : undefined);
    }
  }

  #set(entry: Entry | undefined): void {
    this.#revision = entry?.revision ?? 0;
    this.#record = entry && recordIn(entry);
    this.#since = performance.now();
    this.#changed();
  }

  get isOurs(): boolean {
    return this.#record?.id === this.#id;
  }

  /** Whether another one has looked after the hosts that had gone at this revision. */
  isDone(revision: number): boolean {
    return this.#record !== undefined && this.#record.done >= revision;
  }

  /**
   * Milliseconds until it is worth to try {@link take}. Another one may have the claim, and gets time by our own clock:
   * since the claim last changed, and since `since`, when there was something to do.
   */
  wait(since: number): number {
    if (this.#revision === 0 || this.isOurs) return 0;
    return Math.max(this.#since, since) + this.#patienceMs - performance.now();
  }

  /** Whether it is ours now. Throws what etcd fails with. */
  async take(): Promise<boolean> {
    return this.isOurs || (await this.#write(this.#record?.done ?? 0));
  }

  /** Tells the others that what had happened at this revision is dealt with. Somebody may have taken the claim over. */
  async tell(done: number): Promise<void> {
    if (this.isOurs && done > (this.#record?.done ?? 0)) await this.#write(done);
  }

  async #write(done: number): Promise<boolean> {
    const lease = this.#lease();
    if (lease === undefined || this.#revision === undefined) return false;
    const record: ClaimRecord = { id: this.#id, done };
    const put = { put: this.#key, value: JSON.stringify(record), lease };
    const written = await this.#etcd.commit([{ key: this.#key, revision: this.#revision }], [put]);
    // Our watch may have told of a later one already.
    if (written.done && written.revision > this.#revision) {
      this.#record = record;
      this.#revision = written.revision;
    }
    return written.done;
  }
}

/** Undefined: a newer version has written it, or nobody knows who. It is taken over in time. */
function recordIn({ key, value }: Entry): ClaimRecord | undefined {
  try {
    return fromJson(value, claimRecord, key);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return undefined;
  }
}
