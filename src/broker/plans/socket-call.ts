/**
 * System calls on one socket as data, so that they can be carried out in another process, many at once. A plan is a
 * generator: it gives a batch of calls and gets their results. It decides, and never calls the kernel itself.
 */
import type { Native } from "../../native.ts";

export type SocketCall =
  /** getsockopt(2) of this many ints. */
  | { readonly call: "getsockopt"; readonly level: number; readonly option: number; readonly words: number }
  /** getsockopt(2) of which one int, counted from 0, is the result. The others may change by themselves. */
  | { readonly call: "getword"; readonly level: number; readonly option: number; readonly word: number }
  | {
      readonly call: "setsockopt";
      readonly level: number;
      readonly option: number;
      readonly value: number | Uint8Array;
    }
  | { readonly call: "getsockname" }
  | { readonly call: "getpeername" }
  | { readonly call: "listen"; readonly backlog: number }
  | { readonly call: "shutdown"; readonly how: number }
  | { readonly call: "bind" | "connect"; readonly sockaddr: Uint8Array }
  /** poll(2) without a wait. */
  | { readonly call: "poll"; readonly events: number }
  /** fcntl(2) F_GETFL and F_SETFL. */
  | { readonly call: "getfl" }
  | { readonly call: "setfl"; readonly flags: number };

/** Many calls as one, which the guard compares with what is expected of them: see {@link Batch}. */
export interface BatchCall {
  readonly call: "batch";
  readonly batch: { readonly bytes: Uint8Array };
}

/**
 * A socket's filter of classic BPF, as instructions: struct sock_filter. "getfilter" gives SO_GET_FILTER's, and how
 * many they are; -EACCES for one of eBPF. Only the guard can carry these out.
 */
export type FilterCall = { readonly call: "getfilter" } | { readonly call: "setfilter"; readonly program: Uint8Array };

export type PlannedCall = SocketCall | BatchCall | FilterCall;

export interface SocketResult {
  /** As the system call's: -errno when it failed. Of getsockname the address's length. */
  readonly result: number;
  /** What getsockopt or getsockname gave. */
  readonly value: Int32Array;
}

/** Gives lists of calls; ends with what came of it. */
export type SocketPlan<T> = Generator<readonly PlannedCall[], T, readonly SocketResult[]>;

/** A plan that this process can carry out as well. */
export type LocalPlan<T> = Generator<readonly SocketCall[], T, readonly SocketResult[]>;

/** Carries a plan out here and now: only for a socket that nobody else has or had. */
export function runPlan<T>(plan: LocalPlan<T>, fd: number, sys: Native): T {
  let step = plan.next();
  while (step.done !== true) step = plan.next(runBatch(step.value, fd, sys));
  return step.value;
}

/** Options that follow each other are read by one call of the addon: a repair reads more than a hundred. */
function runBatch(calls: readonly SocketCall[], fd: number, sys: Native): readonly SocketResult[] {
  const results: SocketResult[] = [];
  for (let at = 0; at < calls.length; ) {
    const call = calls[at];
    if (call === undefined) break;
    const reads = readsFrom(calls, at);
    if (reads.length > 1) results.push(...readOptions(reads, fd, sys));
    else results.push(runCall(call, fd, sys));
    at += Math.max(1, reads.length);
  }
  return results;
}

type Read = Extract<SocketCall, { readonly call: "getsockopt" }>;

/** The calls of getsockopt that follow each other from there on. */
function readsFrom(calls: readonly SocketCall[], start: number): readonly Read[] {
  const reads: Read[] = [];
  for (let at = start; at < calls.length; at++) {
    const call = calls[at];
    if (call?.call !== "getsockopt") break;
    reads.push(call);
  }
  return reads;
}

function readOptions(reads: readonly Read[], fd: number, sys: Native): readonly SocketResult[] {
  const asked = new Int32Array(3 * reads.length);
  let words = 0;
  reads.forEach((read, index) => {
    asked[3 * index] = read.level;
    asked[3 * index + 1] = read.option;
    asked[3 * index + 2] = read.words;
    words += 1 + read.words;
  });
  const values = new Int32Array(words);
  sys.getsockopts(fd, asked, values);
  let at = 0;
  return reads.map((read) => {
    const result = values[at] ?? 0;
    const value = values.subarray(at + 1, at + 1 + read.words);
    at += 1 + read.words;
    return { result, value };
  });
}

const NOTHING = new Int32Array(0);
/** struct sockaddr_storage. */
const SOCKADDR_WORDS = 32;

function runCall(call: SocketCall, fd: number, sys: Native): SocketResult {
  switch (call.call) {
    case "getsockopt": {
      const value = new Int32Array(call.words);
      return { result: sys.getsockopt(fd, call.level, call.option, value), value };
    }
    case "getword": {
      const value = new Int32Array(call.word + 1);
      const result = sys.getsockopt(fd, call.level, call.option, value);
      return { result: result < 0 ? result : (value[call.word] ?? 0), value: NOTHING };
    }
    case "setsockopt":
      return { result: sys.setsockopt(fd, call.level, call.option, call.value), value: NOTHING };
    case "getsockname": {
      const value = new Int32Array(SOCKADDR_WORDS);
      return { result: sys.getsockname(fd, new Uint8Array(value.buffer)), value };
    }
    case "getpeername":
      return { result: sys.getpeername(fd, new Uint8Array(4 * SOCKADDR_WORDS)), value: NOTHING };
    case "listen":
      return { result: sys.listen(fd, call.backlog), value: NOTHING };
    case "bind":
      return { result: sys.bind(fd, call.sockaddr), value: NOTHING };
    case "shutdown":
      return { result: sys.shutdown(fd, call.how), value: NOTHING };
    case "connect":
      return { result: sys.connect(fd, call.sockaddr), value: NOTHING };
    case "poll":
      return { result: sys.pollNow(fd, call.events), value: NOTHING };
    case "getfl":
      return { result: sys.getfl(fd), value: NOTHING };
    case "setfl":
      return { result: sys.setfl(fd, call.flags), value: NOTHING };
    default:
      call satisfies never;
      return call;
  }
}
