/**
 * What a server had set on its own socket before bind(2) is set on the held one that takes its place, so that nothing
 * it did is lost. Only what differs from a new socket of that kind was set by it; the rest stays as configured. What
 * cannot be read back (joined multicast groups, attached filters) cannot be carried over: docs/bind-delivery.md.
 */

import { carriedOptions } from "../../config/keys/carried-options.ts";
import type { KernelOption } from "../../config/keys/socket-options.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { AF_INET6, AF_UNIX } from "../../net/address.ts";
import * as so from "../../net/socket-constants.ts";
import { SOCK_STREAM } from "../../net/transport.ts";
import { type LocalPlan, runPlan, type SocketCall, type SocketResult } from "./socket-call.ts";

export { lostOptions } from "./lost-options.ts";

/** One option of a socket that its program has set. */
export interface Setting {
  readonly option: KernelOption;
  readonly value: Int32Array;
}

/** What a server has set on its own socket. */
export interface OwnSettings {
  /** What of the table differs from a new socket of that kind. */
  readonly settings: readonly Setting[];
  /** As fcntl(2) F_GETFL gives them, or -errno. */
  readonly flags: number;
}

/** The calls that read the options of a socket of this domain and type, for {@link settingsBeside}. */
export function optionCalls(domain: number, type: number): readonly SocketCall[] {
  return optionsOf(domain, type).map(({ level, option, words }) => ({ call: "getsockopt", level, option, words }));
}

/** What of these options is otherwise on a new socket, and so was set. What cannot be read was not. */
export function settingsBeside(
  own: readonly SocketResult[],
  usual: readonly SocketResult[],
  domain: number,
  type: number,
): Setting[] {
  return optionsOf(domain, type).flatMap((option, index) => {
    const is = wordsIn(own[index]);
    const was = wordsIn(usual[index]);
    return is === undefined || was === undefined || same(is, was) ? [] : [{ option, value: is }];
  });
}

/** What a socket's program has set on it, of a socket that nobody can hold up. */
export function settingsOf(own: number, domain: number, type: number, sys: Native): readonly Setting[] {
  const usual = newSocket(domain, type, sys);
  return usual === undefined ? [] : settingsBeside(runPlan(readPlan(domain, type), own, sys), usual, domain, type);
}

/** What a new socket gives for {@link optionCalls}; undefined if there is no descriptor left for one. */
export function newSocket(domain: number, type: number, sys: Native): readonly SocketResult[] | undefined {
  const fresh = sys.socket(domain, type, 0);
  if (fresh < 0) return undefined;
  using reference = FdHandle.adopt(fresh, sys);
  return runPlan(readPlan(domain, type), reference.fd, sys);
}

/**
 * Sets on the held socket, which has these flags, what the server's own was given beyond the defaults, O_NONBLOCK
 * included. An option the kernel refuses is left as it was: the server would find out by asking, as it would have from
 * the kernel. What is set is set back when the lease ends (socket-repair.ts).
 */
export function* carryOver({ settings, flags }: OwnSettings, now: number): LocalPlan<void> {
  const calls = settings.flatMap(setCalls);
  const wanted = (now & ~so.O_NONBLOCK) | (flags & so.O_NONBLOCK);
  if (flags >= 0 && now >= 0 && wanted !== now) calls.push({ call: "setfl", flags: wanted });
  if (calls.length > 0) yield calls;
}

function* readPlan(domain: number, type: number): LocalPlan<readonly SocketResult[]> {
  return yield optionCalls(domain, type);
}

/** Those of other families and protocols can be neither read nor set. */
export function optionsOf(domain: number, type: number): readonly KernelOption[] {
  const levels = [so.SOL_SOCKET];
  if (domain !== AF_UNIX) levels.push(so.IPPROTO_IP, type === SOCK_STREAM ? so.IPPROTO_TCP : so.IPPROTO_UDP);
  if (domain === AF_INET6) levels.push(so.IPPROTO_IPV6);
  const key = levels.join();
  const options = byLevels.get(key) ?? carriedOptions.filter(({ level }) => levels.includes(level));
  byLevels.set(key, options);
  return options;
}

const byLevels = new Map<string, readonly KernelOption[]>();

function wordsIn(result: SocketResult | undefined): Int32Array | undefined {
  return result === undefined || result.result < 0 ? undefined : result.value;
}

function setCalls({ option: { level, option, words, force }, value }: Setting): readonly SocketCall[] {
  const set = (name: number, raw: number | Uint8Array): SocketCall => ({
    call: "setsockopt",
    level,
    option: name,
    value: raw,
  });
  if (words > 1) return [set(option, new Uint8Array(value.buffer, value.byteOffset, value.byteLength))];
  const word = value[0] ?? 0;
  if (force === undefined) return [set(option, word)];
  const bytes = Math.floor(word / 2); // the kernel reports it doubled
  return [set(option, bytes), set(force, bytes)];
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.every((word, index) => word === b[index]);
}
