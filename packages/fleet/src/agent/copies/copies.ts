/** The orders about files that this host has, each of which is done once: a newer one of a berth ends the older one. */
import { type Etcd, isUnreachable } from "../../etcd/etcd.ts";
import { aborted, sleep } from "../../etcd/follow.ts";
import { Fault } from "../../fault.ts";
import type { CopyOrder, CopyReport } from "../../model/copy.ts";
import type { Keys } from "../../model/keys.ts";
import { type Done, doOrder, type Tools } from "./copy.ts";

interface Task {
  readonly order: CopyOrder;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

const REPORT_MS = 1_000;

export class Copies {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #host: string;
  readonly #tools: Tools | undefined;
  readonly #lease: () => bigint | undefined;
  readonly #say: (sentence: string) => void;
  readonly #tasks = new Map<string, Task>();
  #wanted: ReadonlyMap<string, CopyOrder> = new Map();
  #isReady = false;

  /** `tools` undefined: this host moves no files, and says so. */
  constructor(
    etcd: Etcd,
    keys: Keys,
    host: string,
    tools: Tools | undefined,
    lease: () => bigint | undefined,
    say: (sentence: string) => void,
  ) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#host = host;
    this.#tools = tools;
    this.#lease = lease;
    this.#say = say;
  }

  /** By berth. */
  set wanted(wanted: ReadonlyMap<string, CopyOrder>) {
    this.#wanted = wanted;
    if (this.#isReady) this.#begin();
  }

  /** Until the signal; then also what it had begun has ended. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#tools?.staging.endLeft();
    await this.#prune();
    this.#isReady = true;
    this.#begin();
    await aborted(signal);
    this.#isReady = false;
    for (const { stop } of this.#tasks.values()) stop.abort();
    await Promise.all([...this.#tasks.values()].map(({ ended }) => ended));
    await this.#tools?.staging.ended();
  }

  #begin(): void {
    for (const [berth, { order, stop }] of this.#tasks) if (!isSame(order, this.#wanted.get(berth))) stop.abort();
    for (const [berth, order] of this.#wanted) {
      if (this.#tasks.has(berth)) continue; // The next begins when this one has ended.
      const stop = new AbortController();
      this.#tasks.set(berth, { order, stop, ended: this.#run(order, stop.signal) });
    }
  }

  /** Until the order has gone: what is done stays done until then, and so does what has failed. */
  async #run(order: CopyOrder, signal: AbortSignal): Promise<void> {
    const { berth } = order;
    const say = (error: unknown): void => this.#say(`${berth}: ${error}`);
    await this.#do(order, signal).catch(say);
    await aborted(signal);
    await this.#forget(berth).catch(say);
    this.#tasks.delete(berth);
    await this.#prune();
    if (this.#isReady) this.#begin();
  }

  /** A disk that fails ends no agent. The next order tries it again. */
  async #prune(): Promise<void> {
    await this.#tools?.store.prune().catch((error: unknown) => this.#say(`cannot remove old archives: ${error}`));
  }

  async #do(order: CopyOrder, signal: AbortSignal): Promise<void> {
    const begun = performance.now();
    let fetched = 0;
    const report = (state: CopyReport["state"], more: Done & Pick<CopyReport, "why"> = {}): Promise<void> => {
      const { berth, id, step } = order;
      const seconds = Math.floor((performance.now() - begun) / 1000);
      return this.#report({ berth, id, step, state, seconds, fetched, ...more }, signal);
    };
    const over = new AbortController();
    const beats = this.#beat(() => report("working"), AbortSignal.any([signal, over.signal]));
    beats.catch(() => undefined); // It is awaited below.
    const tell = (bytes: number): void => {
      fetched = bytes;
    };
    let ended: Parameters<typeof report>;
    try {
      if (this.#tools === undefined) throw new Fault("COPY_FAILED", "its agent has no --state-socket and no --store");
      ended = ["done", await doOrder(order, this.#tools, tell, signal)];
    } catch (error) {
      if (!(error instanceof Fault) && !signal.aborted) this.#say(`${order.berth}: ${error}`);
      ended = ["failed", { why: (error instanceof Error ? error.message : String(error)).slice(0, 2000) }];
    }
    over.abort();
    await beats;
    const [state, { why } = {}] = ended;
    if (!signal.aborted) {
      this.#say(`${order.berth}: ${order.task.do} ${state}${why === undefined ? "" : `: ${why}`}`);
      await report(...ended);
    }
  }

  async #beat(report: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await report();
      await sleep(REPORT_MS, signal);
    }
  }

  /** Where etcd does not answer the report stays. Movers ignore it, since it names another order. */
  async #forget(berth: string): Promise<void> {
    try {
      await this.#etcd.commit([], [{ remove: { key: this.#keys.of({ kind: "copied", host: this.#host, berth }) } }]);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
  }

  /** Goes with the host's lease. Tried until etcd takes it, or the order has gone. */
  async #report(report: CopyReport, signal: AbortSignal): Promise<void> {
    const put = this.#keys.of({ kind: "copied", host: this.#host, berth: report.berth });
    for (; !signal.aborted; await sleep(REPORT_MS, signal)) {
      const lease = this.#lease();
      if (lease === undefined) continue;
      try {
        await this.#etcd.commit([], [{ put, value: JSON.stringify(report), lease }]);
        return;
      } catch (error) {
        if (!isUnreachable(error) && !(error instanceof Fault && error.code === "ETCD_REFUSED")) throw error;
      }
      if (report.state === "working") return;
    }
  }
}

function isSame(one: CopyOrder, other: CopyOrder | undefined): boolean {
  return one.id === other?.id && one.step === other.step;
}
