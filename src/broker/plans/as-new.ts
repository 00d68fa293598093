/**
 * Whether a socket is as a new one: not bound, with the options and flags that a new one of its kind has, but for what
 * can be carried over. This is the question as bytes, for the process that looks at a server's socket. A guard process
 * finds out what to expect.
 */
import * as options from "../../config/keys/socket-options.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { AF_INET6 } from "../../net/address.ts";
import * as so from "../../net/socket-constants.ts";
import { encodeCalls } from "../guard/protocol.ts";
import { Batch } from "./batch.ts";
import { optionCalls, optionsOf } from "./carry-over.ts";
import { guardCall } from "./guard-calls.ts";
import { type PlanGuard, runGuarded } from "./guarded-plan.ts";
import type { SocketCall, SocketPlan } from "./socket-call.ts";

/** How a call may give something else than expected: `Variation` in native/addon/seccomp/foreseen.h. */
const [SET, SET_HALF, FORCE_HALF, NONBLOCK, TELL, SET_STEADY] = [0, 1, 2, 3, 4, 5];

/**
 * What a new socket gives for these is the same at all times, so none is opened to compare: they are 0 in the kernel's
 * source until a program sets them (socket(7), ip(7), ipv6(7), tcp(7)), and no sysctl has another default for them.
 */
const steady: ReadonlySet<options.KernelOption> = new Set([
  options.SO_BROADCAST,
  options.SO_KEEPALIVE,
  options.IP_TOS,
  options.IP_PKTINFO,
  options.IPV6_RECVPKTINFO,
  options.IPV6_TCLASS,
  options.TCP_NODELAY,
]);

/** What is asked before the options, in this order. */
const asked = ["V6ONLY", "DOMAIN", "TYPE", "PROTOCOL", "REUSEPORT", "REUSEADDR", "name", "flags"] as const;
const [REUSEPORT, REUSEADDR, FLAGS] = [asked.indexOf("REUSEPORT"), asked.indexOf("REUSEADDR"), asked.indexOf("flags")];

/** What a server has set on a socket that was as a new one otherwise. */
export interface SetBefore {
  /** Names of options that were carried over. */
  readonly names: readonly string[];
  readonly reusesPort: boolean;
  readonly reusesAddress: boolean;
}

/** Sockets of one domain and type, of the usual protocol. */
export class AsNew {
  readonly domain: number;
  readonly type: number;
  /** IPV6_V6ONLY, which servers set first of all. False where there is none. */
  readonly v6only: boolean;
  /** Which calls of the question may give what else: see Interceptor.foresee. */
  readonly variations: Int32Array;
  readonly #batch: Batch;
  #isKnown = false;

  constructor(domain: number, type: number, v6only: boolean) {
    this.domain = domain;
    this.type = type;
    this.v6only = v6only;
    this.variations = variationsOf(domain, type);
    this.#batch = new Batch(allCalls(domain, type));
  }

  /** The question; undefined while nobody knows the answer. */
  get calls(): Uint8Array | undefined {
    return this.#isKnown ? encodeCalls([guardCall({ call: "batch", batch: this.#batch }, 0)]) : undefined;
  }

  /** What it means that the calls at these places have varied. */
  setBefore(places: Int32Array): SetBefore {
    const all = optionsOf(this.domain, this.type);
    return {
      names: Array.from(places).flatMap((place) => all[place - asked.length]?.name ?? []),
      reusesPort: places.includes(REUSEPORT),
      reusesAddress: places.includes(REUSEADDR),
    };
  }

  /** Finds out what a new one gives: a sysctl may have changed since the last time. */
  async learn(sys: Native, guard: PlanGuard): Promise<void> {
    const number = sys.socket(this.domain, this.type, 0);
    if (number < 0) return;
    using fresh = FdHandle.adopt(number, sys);
    sys.setfl(fresh.fd, 0);
    if (this.domain === AF_INET6) sys.setsockopt(fresh.fd, so.IPPROTO_IPV6, so.IPV6_V6ONLY, this.v6only ? 1 : 0);
    const done = await runGuarded(this.#look(), fresh.fd, guard, "broker");
    if (typeof done === "string") this.#isKnown = false;
  }

  *#look(): SocketPlan<void> {
    const [seen] = yield [{ call: "batch", batch: this.#batch }];
    this.#batch.expect(seen);
    this.#isKnown = true;
  }
}

function allCalls(domain: number, type: number): readonly SocketCall[] {
  const ask = (option: number): SocketCall => ({ call: "getsockopt", level: so.SOL_SOCKET, option, words: 1 });
  const before: Readonly<Record<(typeof asked)[number], SocketCall>> = {
    V6ONLY: { call: "getsockopt", level: so.IPPROTO_IPV6, option: so.IPV6_V6ONLY, words: 1 },
    DOMAIN: ask(so.SO_DOMAIN),
    TYPE: ask(so.SO_TYPE),
    PROTOCOL: ask(so.SO_PROTOCOL),
    REUSEPORT: ask(so.SO_REUSEPORT),
    REUSEADDR: ask(so.SO_REUSEADDR),
    name: { call: "getsockname" },
    flags: { call: "getfl" },
  };
  return [...asked.map((name) => before[name]), ...optionCalls(domain, type)];
}

/** As {@link carryOver} would set it. What is not named here must be as expected. */
function variationsOf(domain: number, type: number): Int32Array {
  const settings = optionsOf(domain, type).flatMap((one, index) => {
    const { level, option, force } = one;
    const place = asked.length + index;
    if (force === undefined) return [place, steady.has(one) ? SET_STEADY : SET, level, option];
    return [place, SET_HALF, level, option, place, FORCE_HALF, level, force];
  });
  return Int32Array.of(REUSEPORT, TELL, 0, 0, REUSEADDR, TELL, 0, 0, FLAGS, NONBLOCK, 0, 0, ...settings);
}
