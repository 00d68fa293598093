/** A berth that is at the broker only with its root: so its files can be saved or replaced, and no server starts. */
import { sleep } from "../../etcd/follow.ts";
import { Fault } from "../../fault.ts";
import type { JsonObject } from "../../model/fields.ts";
import type { BerthFiles } from "../berth-files.ts";
import type { BrokerLink } from "../broker-link.ts";

/** What is needed of a {@link BrokerLink}. */
interface Broker extends Pick<BrokerLink, "reload"> {
  present(signal: AbortSignal): Promise<{ has(berth: string): boolean }>;
}

const PAUSE_MS = 1_000;
/** An order that waits longer for the broker fails: the other host holds the berth meanwhile. */
const LONGEST_END_MS = 30_000;

export class Staging {
  readonly #files: BerthFiles;
  readonly #broker: Broker;
  readonly #changed: () => void;
  readonly #agent: AbortSignal;
  /** Berths whose file is gone, and why the broker has not read that yet. */
  readonly #ending = new Map<string, string>();
  readonly #forgetting = new Set<Promise<void>>();

  /** `changed` is called when a berth is staged no longer. `agent`: ends with the agent. */
  constructor(files: BerthFiles, broker: Broker, changed: () => void, agent: AbortSignal) {
    this.#files = files;
    this.#broker = broker;
    this.#changed = changed;
    this.#agent = agent;
  }

  /**
   * Does something while the berth is staged. The berth must not be at the broker. Throws COPY_FAILED if it is, or if
   * the broker does not take it, or does not forget it in time. If the signal ends it, the broker may forget it later.
   */
  async with<T>(berth: string, root: JsonObject, action: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#check(berth, signal);
    this.#files.stage(berth, root);
    let result: T;
    try {
      const problem = await this.#broker.reload();
      if (problem !== undefined) throw new Fault("COPY_FAILED", `the broker refuses the berth's root: ${problem}`);
      result = await action();
    } catch (error) {
      await this.#end(berth, signal);
      throw error;
    }
    await this.#end(berth, signal);
    const why = this.#ending.get(berth);
    if (why !== undefined) throw new Fault("COPY_FAILED", `the broker does not read its configuration: ${why}`);
    return result;
  }

  /** Removes what a killed agent has left. Resolves when the broker has forgotten it, or with the agent's signal. */
  async endLeft(): Promise<void> {
    await Promise.all(this.#files.staged().map((berth) => this.#forget(berth)));
  }

  /** Resolves soon after the agent's signal: the broker has been told of each removed file, if it answers. */
  async ended(): Promise<void> {
    await Promise.all(this.#forgetting);
  }

  /** Throws COPY_FAILED if the host has another berth of this name. */
  async #check(berth: string, signal: AbortSignal): Promise<void> {
    const why = this.#ending.get(berth);
    if (why !== undefined)
      throw new Fault("COPY_FAILED", `the broker still has the berth of an earlier move, and does not reload: ${why}`);
    const there = (await this.#broker.present(signal)).has(berth);
    const other = there ? `a berth ${berth}` : this.#files.inTheWayOf(berth);
    if (other !== undefined) throw new Fault("COPY_FAILED", `this host has ${other} already`);
  }

  /** Waits for {@link #forget}, but not after the signal, and not for ever: it goes on then. */
  async #end(berth: string, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const forgotten = this.#forget(berth).finally(() => {
      over.abort();
      this.#forgetting.delete(forgotten);
    });
    this.#forgetting.add(forgotten);
    await Promise.race([forgotten, sleep(LONGEST_END_MS, AbortSignal.any([signal, over.signal]))]);
  }

  /** Removes the file, and tells the broker until it has forgotten the berth. Ends early with the agent. */
  async #forget(berth: string): Promise<void> {
    this.#ending.set(berth, "it has not answered yet");
    for (; ; await sleep(PAUSE_MS, this.#agent)) {
      const why = await this.#tell(berth).catch((error: unknown) => String(error));
      if (why === undefined) break;
      if (this.#agent.aborted) return;
      this.#ending.set(berth, why);
    }
    this.#ending.delete(berth);
    this.#files.unstage(berth);
    this.#changed();
  }

  /** Resolves with why the broker may still have the berth. A broker that has refused the file does not have it. */
  async #tell(berth: string): Promise<string | undefined> {
    this.#files.remove(berth);
    const problem = await this.#broker.reload();
    if (problem === undefined || !(await this.#broker.present(this.#agent)).has(berth)) return undefined;
    return problem;
  }
}
