/**
 * Whether a socket is as a new one: not bound, with the options and flags that a new one of its kind has. This is the
 * question as bytes, for the process that looks at a server's socket. A guard process finds out what to expect.
 */
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import * as so from "../../net/socket-constants.ts";
import { encodeCalls } from "../guard/protocol.ts";
import { Batch } from "./batch.ts";
import { optionCalls } from "./carry-over.ts";
import { guardCall } from "./guard-calls.ts";
import { type PlanGuard, runGuarded } from "./guarded-plan.ts";
import type { SocketCall, SocketPlan } from "./socket-call.ts";

const V6ONLY = 1;

/** Sockets of one domain and type, of the usual protocol. */
export class AsNew {
  readonly #domain: number;
  readonly #type: number;
  readonly #batch: Batch;
  #isKnown = false;
  #v6only = false;

  constructor(domain: number, type: number) {
    this.#domain = domain;
    this.#type = type;
    this.#batch = new Batch(allCalls(domain, type));
  }

  /** The question; undefined while nobody knows the answer. */
  get calls(): Uint8Array | undefined {
    return this.#isKnown ? encodeCalls([guardCall({ call: "batch", batch: this.#batch }, 0)]) : undefined;
  }

  /** IPV6_V6ONLY of a new one. */
  get v6only(): boolean {
    return this.#v6only;
  }

  /** Finds out what a new one gives: a sysctl may have changed since the last time. */
  async learn(sys: Native, guard: PlanGuard): Promise<void> {
    const number = sys.socket(this.#domain, this.#type, 0);
    if (number < 0) return;
    using fresh = FdHandle.adopt(number, sys);
    sys.setfl(fresh.fd, 0);
    const done = await runGuarded(this.#look(), fresh.fd, guard, "broker");
    if (typeof done === "string") this.#isKnown = false;
  }

  *#look(): SocketPlan<void> {
    const [seen] = yield [{ call: "batch", batch: this.#batch }];
    this.#batch.expect(seen);
    const [v6only] = this.#batch.read(seen);
    this.#v6only = v6only !== undefined && v6only.result >= 0 && v6only.value[0] === V6ONLY;
    this.#isKnown = true;
  }
}

function allCalls(domain: number, type: number): readonly SocketCall[] {
  const ask = (option: number): SocketCall => ({ call: "getsockopt", level: so.SOL_SOCKET, option, words: 1 });
  return [
    { call: "getsockopt", level: so.IPPROTO_IPV6, option: so.IPV6_V6ONLY, words: 1 },
    ...[so.SO_DOMAIN, so.SO_TYPE, so.SO_PROTOCOL, so.SO_REUSEPORT, so.SO_REUSEADDR].map(ask),
    { call: "getsockname" },
    { call: "getfl" },
    ...optionCalls(domain, type),
  ];
}
