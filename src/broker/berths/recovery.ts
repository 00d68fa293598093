/**
 * Tries to open missing sockets again: a port gets free, an address or interface comes. It waits longer after each
 * failure. For what the network lacks, it also tries when the kernel says that addresses or interfaces have changed.
 */
import type { Native } from "../../native.ts";
import { InterfaceWatch } from "../sockets/interfaces/interface-watch.ts";
import type { SocketFailure } from "../sockets/socket-failure.ts";
import type { Berth } from "./berth/berth.ts";
import type { Berths } from "./berths.ts";

/** Milliseconds until the first try, and the longest delay. */
const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 60_000;
/** The longest delay where the kernel does not tell of changes. */
const LONGEST_BLIND_DELAY_MS = 5000;

export interface RecoveryOptions {
  readonly berths: Pick<Berths, "failures" | "recover">;
  readonly sys: Native;
  /** While true, nothing is tried: another broker is taking over. */
  readonly isPaused: () => boolean;
  /** Called when a berth has all its sockets. */
  readonly onCured: () => void;
}

interface Wait {
  readonly delay: number;
  readonly timer: NodeJS.Timeout;
}

export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #waits = new Map<Berth, Wait>();
  #network: InterfaceWatch | undefined;
  #isBlind = false;
  #soon: NodeJS.Immediate | undefined;

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  /** Waits for what is missing now, and for nothing else. */
  update(): void {
    const { failures } = this.#options.berths;
    for (const berth of this.#waits.keys()) if (!failures.has(berth)) this.#forget(berth);
    for (const [berth, missing] of failures)
      if (!this.#waits.has(berth) && missing.some(({ cure }) => cure !== undefined)) this.#wait(berth, FIRST_DELAY_MS);
    this.#watchNetwork();
  }

  close(): void {
    for (const berth of this.#waits.keys()) this.#forget(berth);
    if (this.#soon !== undefined) clearImmediate(this.#soon);
    this.#network?.[Symbol.dispose]();
    this.#network = undefined;
  }

  #wait(berth: Berth, delay: number): void {
    this.#forget(berth);
    this.#waits.set(berth, { delay, timer: setTimeout(() => this.#try(berth), delay).unref() });
  }

  #forget(berth: Berth): void {
    clearTimeout(this.#waits.get(berth)?.timer);
    this.#waits.delete(berth);
  }

  #try(berth: Berth): void {
    const { berths, isPaused, onCured } = this.#options;
    const delay = this.#waits.get(berth)?.delay ?? FIRST_DELAY_MS;
    if (isPaused()) return this.#wait(berth, delay);
    const missing = berths.recover(berth);
    if (missing.length > 0) {
      const longest = this.#isBlind && missing.some(needsNetwork) ? LONGEST_BLIND_DELAY_MS : LONGEST_DELAY_MS;
      this.#wait(berth, Math.min(delay * 2, longest));
    } else {
      this.#forget(berth);
      onCured();
    }
    this.#watchNetwork();
  }

  /** Listens to the kernel while something is missing that it would tell of. */
  #watchNetwork(): void {
    const { berths, sys } = this.#options;
    const needed = [...berths.failures.values()].some((missing) => missing.some(needsNetwork));
    if (!needed) {
      this.#network?.[Symbol.dispose]();
      this.#network = undefined;
    } else if (this.#network === undefined) {
      this.#network = InterfaceWatch.open(sys, () => this.#tryNetwork());
      this.#isBlind = this.#network === undefined;
    }
  }

  /** One turn of the event loop later: an interface brings several messages. */
  #tryNetwork(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      for (const [berth, missing] of [...this.#options.berths.failures])
        if (missing.some(needsNetwork)) this.#try(berth);
    });
  }
}

function needsNetwork({ cure }: SocketFailure): boolean {
  return cure === "network";
}
