/** Writes what the broker says of this host's berths to etcd: what changed, at most once a second. */
import { commitInParts, type Etcd, isUnreachable } from "../etcd/etcd.ts";
import { sleep } from "../etcd/follow.ts";
import type { Change } from "../etcd/messages.ts";
import { Fault } from "../fault.ts";
import type { BerthReport } from "../model/berth-report.ts";
import type { Keys } from "../model/keys.ts";

const PAUSE_MS = 1_000;

export class Reporter {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #host: string;
  readonly #reports: () => readonly BerthReport[];
  readonly #lease: () => bigint | undefined;
  /** What etcd has, by key. */
  #written = new Map<string, string>();
  #isDue = true;

  constructor(
    etcd: Etcd,
    keys: Keys,
    host: string,
    reports: () => readonly BerthReport[],
    lease: () => bigint | undefined,
  ) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#host = host;
    this.#reports = reports;
    this.#lease = lease;
  }

  look(): void {
    this.#isDue = true;
  }

  /** The keys under the former lease are gone. */
  forget(): void {
    this.#written = new Map();
    this.#isDue = true;
  }

  async run(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await sleep(PAUSE_MS, signal)) {
      const lease = this.#lease();
      if (!this.#isDue || lease === undefined) continue;
      this.#isDue = false;
      try {
        await this.#write(lease);
      } catch (error) {
        // The lease can end meanwhile; then a new one is taken, and all is written again.
        if (!isUnreachable(error) && !(error instanceof Fault && error.code === "ETCD_REFUSED")) throw error;
        this.#isDue = true;
      }
    }
  }

  async #write(lease: bigint): Promise<void> {
    const written = this.#written;
    const now = new Map(
      this.#reports().map((one) => [
        this.#keys.of({ kind: "state", host: this.#host, berth: one.berth }),
        JSON.stringify(one),
      ]),
    );
    const puts = [...now].filter(([key, value]) => written.get(key) !== value);
    const gone = [...written.keys()].filter((key) => !now.has(key));
    const changes: Change[] = [
      ...puts.map(([put, value]) => ({ put, value, lease })),
      ...gone.map((key) => ({ remove: { key } })),
    ];
    await commitInParts(this.#etcd, changes);
    // Unless the lease has become another one meanwhile.
    if (this.#written === written) this.#written = now;
  }
}
