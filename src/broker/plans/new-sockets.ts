/**
 * What a server has set on its own socket, by one question to the guard: whether it is as a new one. Mostly it is. What
 * is remembered of new sockets may be older than a change of a sysctl, so after each use it is read again.
 */
import type { Native } from "../../native.ts";
import { Batch } from "./batch.ts";
import { newSocket, optionCalls, type Setting, settingsBeside } from "./carry-over.ts";
import type { SocketResult } from "./socket-call.ts";

/** When to look at a new socket again after a bind, in milliseconds. Its server may bind some more first. */
const LOOK_MS = 100;

const known = new WeakMap<Native, Map<string, NewSockets>>();

/** New sockets of one domain and type. */
export class NewSockets {
  readonly #domain: number;
  readonly #type: number;
  readonly #sys: Native;
  /** Its calls read the options. It expects what a socket gave that was as new. */
  readonly batch: Batch;
  /** What a new socket gave when the batch learnt what to expect. */
  #usual: readonly SocketResult[] | undefined;
  #isLooking = false;

  private constructor(domain: number, type: number, sys: Native) {
    this.#domain = domain;
    this.#type = type;
    this.#sys = sys;
    this.batch = new Batch(optionCalls(domain, type));
  }

  static of(domain: number, type: number, sys: Native): NewSockets {
    let kinds = known.get(sys);
    if (kinds === undefined) {
      kinds = new Map();
      known.set(sys, kinds);
    }
    const key = `${domain} ${type}`;
    let kind = kinds.get(key);
    if (kind === undefined) {
      kind = new NewSockets(domain, type, sys);
      kinds.set(key, kind);
    }
    return kind;
  }

  /** What was set on a socket that gave this. With no descriptor left for a new one, nothing counts as set. */
  settingsIn(seen: SocketResult | undefined): readonly Setting[] {
    if (this.batch.isExpected(seen)) {
      this.#lookSoon();
      return [];
    }
    const usual = this.#read();
    if (usual === undefined) return [];
    const settings = settingsBeside(this.batch.read(seen), usual, this.#domain, this.#type);
    if (settings.length === 0) {
      this.#usual = usual;
      this.batch.expect(seen);
    }
    return settings;
  }

  #read(): readonly SocketResult[] | undefined {
    return newSocket(this.#domain, this.#type, this.#sys);
  }

  /** Later: the bind that found what was expected still waits for its answer. */
  #lookSoon(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    setTimeout(() => {
      this.#isLooking = false;
      const now = this.#read();
      const isSame = now !== undefined && settingsBeside(now, this.#usual ?? [], this.#domain, this.#type).length === 0;
      if (!isSame) this.batch.forget();
    }, LOOK_MS).unref();
  }
}
