/**
 * The state of a socket's options ({@link tenantOptions}): how to read it, what differs between two, and what sets one
 * back to the other. Pure but for {@link configuredState}, which opens a socket of its own to read.
 */
import { type SocketOptions, settingsFor } from "../../config/keys/socket-options.ts";
import type { Native } from "../../native.ts";
import type { ListenAddress } from "../../net/address.ts";
import { openSocket } from "./open-socket.ts";
import { type LocalPlan, runPlan, type SocketCall, type SocketResult } from "./socket-call.ts";
import { type TenantOption, tenantOptions } from "./tenant-options.ts";

/** By option, in the order of the table: its value, or undefined where the kernel does not tell. */
export type OptionState = readonly (Int32Array | undefined)[];

/** The calls that read the options, for {@link readState}. */
export function stateCalls(listen: ListenAddress): readonly SocketCall[] {
  return tenantOptions(listen).map(({ level, option, words }) => ({ call: "getsockopt", level, option, words }));
}

export function readState(results: readonly SocketResult[]): OptionState {
  return results.map(({ result, value }) => (result < 0 ? undefined : value));
}

/** What of `now` differs from `wanted`. What cannot be read of `wanted` is not compared. */
export function differences(listen: ListenAddress, now: OptionState, wanted: OptionState): TenantOption[] {
  return tenantOptions(listen).flatMap((option, index) => {
    const should = wanted[index];
    const is = now[index];
    return should === undefined || (is !== undefined && same(is, should)) ? [] : [option];
  });
}

/** What sets them back, in the order of the table, and with them those options that this changes too. */
export function setBackCalls(
  listen: ListenAddress,
  found: readonly TenantOption[],
  wanted: OptionState,
): readonly SocketCall[] {
  const names = new Set(found.map(({ name }) => name));
  return tenantOptions(listen).flatMap((option, index) => {
    const value = wanted[index];
    if (option.follows?.some((cause) => names.has(cause)) === true) names.add(option.name);
    return value === undefined || !names.has(option.name) ? [] : setCalls(option, value);
  });
}

function setCalls({ level, option, set, force }: TenantOption, value: Int32Array): SocketCall[] {
  const call = (name: number, raw: number | Uint8Array): SocketCall => ({
    call: "setsockopt",
    level,
    option: name,
    value: raw,
  });
  const word = value[0] ?? 0;
  if (set === "never") return [];
  if (set === "linger") return [call(option, bytesOf(Int32Array.of(word, 0)))];
  if (set === "empty" && value.every((each) => each === 0)) return [call(option, new Uint8Array(0))];
  if (set === "buffer") {
    const size = Math.floor(word / 2); // the kernel reports it doubled
    return [call(option, size), ...(force === undefined ? [] : [call(force, size)])];
  }
  return [call(option, value.length === 1 ? word : bytesOf(value))];
}

/** For a sentence: the options that a server changed, without those that changed only because another did. */
export function namesOf(found: readonly TenantOption[], carried: ReadonlySet<string> = new Set()): string[] {
  const causes = new Set([...found.map(({ name }) => name), ...carried]);
  return found
    .filter(
      ({ name, follows, isUsual }) =>
        isUsual !== true && !carried.has(name) && follows?.some((cause) => causes.has(cause)) !== true,
    )
    .map(({ name }) => name);
}

/** What is remembered of all new sockets that are alike. */
interface Remembered {
  state: OptionState | undefined;
}

/** How many kinds are remembered: of a configuration with more kinds of sockets, some are read again. */
const MAX_KINDS = 64;
const byKind = new WeakMap<Native, Map<string, Remembered>>();
/** For sockets that were asked for before: it takes longer to describe what they are. */
const byAddress = new WeakMap<ListenAddress, { options: SocketOptions; sys: Native; kind: Remembered }>();

/**
 * The state of a new socket with these options, but for `device`: that interface may be gone. Read once for all that
 * are alike, and again when it `mustBeNew`, for sysctls may have changed. Throws {@link SysError} when no socket can be
 * opened.
 */
export function configuredState(
  listen: ListenAddress,
  options: SocketOptions,
  sys: Native,
  mustBeNew = false,
): OptionState {
  const kind = kindOf(listen, options, sys);
  if (kind.state !== undefined && !mustBeNew) return kind.state;
  const { device: _, ...others } = options;
  using fresh = openSocket(listen, others, sys);
  kind.state = runPlan(readPlan(listen), fresh.fd, sys);
  return kind.state;
}

function kindOf(listen: ListenAddress, options: SocketOptions, sys: Native): Remembered {
  const before = byAddress.get(listen);
  if (before !== undefined && before.options === options && before.sys === sys) return before.kind;
  const kinds = byKind.get(sys) ?? new Map<string, Remembered>();
  byKind.set(sys, kinds);
  const { address, dualStack } = listen;
  const { device: _, ...others } = options;
  const key = JSON.stringify([address.family, listen.kind, dualStack, others]);
  const known = kinds.get(key);
  if (known === undefined && kinds.size >= MAX_KINDS) kinds.clear();
  const kind = known ?? { state: undefined };
  kinds.set(key, kind);
  byAddress.set(listen, { options, sys, kind });
  return kind;
}

/** The state of the socket itself: for one that a .socket unit set up, which has options of its own. */
export function* readPlan(listen: ListenAddress): LocalPlan<OptionState> {
  return readState(yield stateCalls(listen));
}

/**
 * What a bound socket's options should be: those of a new one, but for the interface that it is bound to, and for what
 * a .socket unit had `given` it and the berth does not set. `boundTo` is that interface's index, 0 for none, and
 * undefined where the interface is gone: then nothing is compared with it.
 */
export function expectedState(
  listen: ListenAddress,
  options: SocketOptions,
  { fresh, given, boundTo }: { fresh: OptionState; given: OptionState | undefined; boundTo: number | undefined },
): OptionState {
  if (given === undefined && boundTo === 0) return fresh;
  const ours = new Set(settingsFor("any", listen, options).map(({ kernel }) => kernel.name));
  return tenantOptions(listen).map(({ name, follows = [] }, index) => {
    if (name === "SO_BINDTODEVICE" && boundTo !== 0) return boundTo === undefined ? undefined : Int32Array.of(boundTo);
    const isOurs = ours.has(name) || follows.some((cause) => ours.has(cause)) || sharesAddress(name);
    return given === undefined || isOurs ? fresh[index] : given[index];
  });
}

/** With either, another process can bind the address beside the broker and take what comes for it (socket(7)). */
function sharesAddress(name: string): boolean {
  return name === "SO_REUSEPORT" || name === "SO_REUSEADDR";
}

function bytesOf(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.every((word, index) => word === b[index]);
}
