/** Shows what is left of drains, until their servers have ended. */
import { setTimeout as sleep } from "node:timers/promises";
import { DRAIN_IS_OVER, drainOf } from "../../berth-state.ts";
import { printable, printableJson } from "../../printable.ts";
import { connectUntil, deadlineOf, isBrokerGone } from "../ask.ts";
import type { BrokerChoice } from "../options.ts";
import { EXIT_REFUSED } from "../print/exit.ts";
import { print } from "../print/stdout.ts";
import { type BerthRecord, type EventRecord, listBerths, readEvent } from "./berth-records.ts";

export interface WatchDrainsOptions extends BrokerChoice {
  /** Each event on a line of its own. */
  readonly json: boolean;
}

/** How often to look for the next broker, in milliseconds, and how many times in a row. */
const RETRY_MS = 500;
const RETRIES = 60;
const SECOND_MS = 1000;
const CLEAR = "\r\u001b[K";

/** `leases`: those that are to end, by the names of their berths. Ends early when `signal` is aborted. */
export async function watchDrains(
  leases: Map<string, string>,
  options: WatchDrainsOptions,
  signal: AbortSignal,
): Promise<void> {
  const names = [...leases.keys()].map(printable);
  using view = new DrainsView(leases, options.json);
  for (let tries = 0; leases.size > 0 && !signal.aborted; ) {
    try {
      // A drain that has ended by now has no event.
      const berths = await listBerths(options);
      tries = 0;
      for (const name of leases.keys()) {
        const berth = berths.find((one) => one.name === name);
        if (berth === undefined) view.lost(name);
        else view.show({ event: "present", berth });
      }
      if (leases.size > 0) await follow(view, options, signal);
    } catch (error) {
      if (signal.aborted) break;
      // The next broker goes on with the drains.
      if (!isBrokerGone(error) || ++tries > RETRIES) throw error;
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  if (signal.aborted)
    process.stderr.write(
      `berth: interrupted; the drain goes on; to cancel it: berth drain --cancel ${names.join(" ")}\n`,
    );
}

async function follow(view: DrainsView, options: BrokerChoice, signal: AbortSignal): Promise<void> {
  const { client } = await connectUntil(options, AbortSignal.any([signal, deadlineOf(options)]));
  using _ = client;
  for await (const { parameters } of client.stream("io.berthd.Broker.Watch", {}, { signal })) {
    view.show(readEvent(parameters));
    if (view.isOver) return;
  }
}

class DrainsView implements Disposable {
  readonly #leases: Map<string, string>;
  readonly #json: boolean;
  /** What was printed last of each berth, without the time that is left. */
  readonly #shown = new Map<string, string>();
  /** On a terminal: the one berth whose last line counts down. */
  #counting: BerthRecord | undefined;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(leases: Map<string, string>, json: boolean) {
    this.#leases = leases;
    this.#json = json;
    if (!json && leases.size === 1 && process.stdout.isTTY === true)
      this.#timer = setInterval(() => this.#count(), SECOND_MS);
  }

  get isOver(): boolean {
    return this.#leases.size === 0;
  }

  show(record: EventRecord): void {
    const { berth, event } = record;
    const { name } = berth;
    const lease = this.#leases.get(name);
    if (lease === undefined) return;
    if (this.#json) print(`${printableJson({ time: new Date().toISOString(), event, berth })}\n`);
    if (berth.lease?.id !== lease) return this.#end(name, "its server has ended");
    if (event === "removed") return this.#end(name, "it is no longer configured; the broker goes on with the drain");
    if (!berth.drain) {
      process.exitCode = EXIT_REFUSED;
      return this.#end(name, DRAIN_IS_OVER);
    }
    if (event === "stopping") this.#say(name, "its server is being stopped");
    else this.#tell(berth);
  }

  /** The berth is not there any more. */
  lost(name: string): void {
    this.#end(name, "it is no longer configured, or you may not see it any more");
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (this.#counting !== undefined) print("\n");
  }

  #tell(berth: BerthRecord): void {
    if (this.#json) return;
    if (this.#timer !== undefined) {
      this.#counting = berth;
      return this.#count();
    }
    const { name, drain, players } = berth;
    const facts = `${drain?.deadline} ${players?.count}`;
    if (this.#shown.get(name) !== facts) this.#say(name, drainOf(berth, Date.now()));
    this.#shown.set(name, facts);
  }

  #count(): void {
    if (this.#counting !== undefined)
      print(`${CLEAR}${printable(this.#counting.name)}: ${drainOf(this.#counting, Date.now())}`);
  }

  #end(name: string, why: string): void {
    this.#leases.delete(name);
    this.#say(name, why);
  }

  #say(name: string, what: string): void {
    if (this.#json) return;
    const clear = this.#counting === undefined ? "" : CLEAR;
    this.#counting = undefined;
    print(`${clear}${printable(name)}: ${what}\n`);
  }
}
