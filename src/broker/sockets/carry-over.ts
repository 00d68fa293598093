/**
 * What a server had set on its own socket before bind(2) is set on the held one that takes its place, so that nothing
 * it did is lost. Only what differs from a new socket of that kind was set by it; the rest stays as configured. What
 * cannot be read back (joined multicast groups, attached filters) cannot be carried over: docs/bind-delivery.md.
 */
import { SOCK_STREAM } from "../../address.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import * as so from "../../socket-constants.ts";

/** One option: its name for people, where it stands, and how many 32-bit words its value has. */
export interface CarriedOption {
  readonly name: string;
  readonly level: number;
  readonly option: number;
  readonly words: number;
  /** Of a buffer, whose size the kernel reports doubled: the option that is not bound by net.core.[rw]mem_max (socket(7)). */
  readonly force?: number;
}

const plain = (name: string, level: number, option: number, words = 1): CarriedOption => ({
  name,
  level,
  option,
  words,
});

/** The table of docs/bind-delivery.md, which a test holds against this one. */
export const carriedOptions: readonly CarriedOption[] = [
  { ...plain("SO_RCVBUF", so.SOL_SOCKET, so.SO_RCVBUF), force: so.SO_RCVBUFFORCE },
  { ...plain("SO_SNDBUF", so.SOL_SOCKET, so.SO_SNDBUF), force: so.SO_SNDBUFFORCE },
  plain("SO_BROADCAST", so.SOL_SOCKET, so.SO_BROADCAST),
  plain("SO_KEEPALIVE", so.SOL_SOCKET, so.SO_KEEPALIVE),
  plain("SO_OOBINLINE", so.SOL_SOCKET, 10),
  plain("SO_LINGER", so.SOL_SOCKET, 13, 2),
  plain("SO_RCVLOWAT", so.SOL_SOCKET, 18),
  plain("SO_RCVTIMEO", so.SOL_SOCKET, 20, 4),
  plain("SO_SNDTIMEO", so.SOL_SOCKET, 21, 4),
  plain("SO_TIMESTAMP", so.SOL_SOCKET, 29),
  plain("IP_TOS", so.IPPROTO_IP, so.IP_TOS),
  plain("SO_PRIORITY", so.SOL_SOCKET, so.SO_PRIORITY), // after IP_TOS, which sets it too
  plain("IP_TTL", so.IPPROTO_IP, 2),
  plain("IP_PKTINFO", so.IPPROTO_IP, so.IP_PKTINFO),
  plain("IP_MTU_DISCOVER", so.IPPROTO_IP, 10),
  plain("IP_RECVERR", so.IPPROTO_IP, 11),
  plain("IP_RECVTTL", so.IPPROTO_IP, 12),
  plain("IP_RECVTOS", so.IPPROTO_IP, 13),
  plain("IP_MULTICAST_IF", so.IPPROTO_IP, 32),
  plain("IP_MULTICAST_TTL", so.IPPROTO_IP, 33),
  plain("IP_MULTICAST_LOOP", so.IPPROTO_IP, 34),
  plain("IPV6_UNICAST_HOPS", so.IPPROTO_IPV6, 16),
  plain("IPV6_MULTICAST_IF", so.IPPROTO_IPV6, 17),
  plain("IPV6_MULTICAST_HOPS", so.IPPROTO_IPV6, 18),
  plain("IPV6_MULTICAST_LOOP", so.IPPROTO_IPV6, 19),
  plain("IPV6_MTU_DISCOVER", so.IPPROTO_IPV6, 23),
  plain("IPV6_RECVERR", so.IPPROTO_IPV6, 25),
  plain("IPV6_RECVPKTINFO", so.IPPROTO_IPV6, so.IPV6_RECVPKTINFO),
  plain("IPV6_RECVHOPLIMIT", so.IPPROTO_IPV6, 51),
  plain("IPV6_RECVTCLASS", so.IPPROTO_IPV6, 66),
  plain("IPV6_TCLASS", so.IPPROTO_IPV6, so.IPV6_TCLASS),
  plain("TCP_NODELAY", so.IPPROTO_TCP, so.TCP_NODELAY),
  plain("TCP_KEEPIDLE", so.IPPROTO_TCP, 4),
  plain("TCP_KEEPINTVL", so.IPPROTO_TCP, 5),
  plain("TCP_KEEPCNT", so.IPPROTO_TCP, 6),
  plain("TCP_DEFER_ACCEPT", so.IPPROTO_TCP, so.TCP_DEFER_ACCEPT),
  plain("TCP_USER_TIMEOUT", so.IPPROTO_TCP, 18),
  plain("TCP_FASTOPEN", so.IPPROTO_TCP, 23),
];

/** Settings of a held socket before they were changed, so that the next tenant finds it as configured. */
export type Changed = ReadonlyMap<CarriedOption, Int32Array>;

/** One option of a socket that its program has set. */
export interface Setting {
  readonly option: CarriedOption;
  readonly value: Int32Array;
}

/** What of the table differs from a new socket of that kind; nothing when there is no descriptor left to compare with. */
export function settingsOf(own: number, domain: number, type: number, sys: Native): Setting[] {
  const fresh = sys.socket(domain, type, 0);
  if (fresh < 0) return [];
  using reference = FdHandle.adopt(fresh, sys);
  return carriedOptions.flatMap((option) => {
    if (option.level === so.IPPROTO_TCP && type !== SOCK_STREAM) return [];
    const value = read(own, option, sys);
    const usual = read(reference.fd, option, sys);
    return value === undefined || usual === undefined || same(value, usual) ? [] : [{ option, value }];
  });
}

/**
 * Sets on `held` what `own` was given beyond the defaults, O_NONBLOCK included. Returns what was changed. An option the
 * kernel refuses is left as it was: the server would find out by asking, as it would have from the kernel.
 */
export function carryOver(own: number, held: number, domain: number, type: number, sys: Native): Changed {
  const changed = new Map<CarriedOption, Int32Array>();
  // All are read before any is written, for one option may change another.
  const settings = settingsOf(own, domain, type, sys).map((setting) => ({
    ...setting,
    before: read(held, setting.option, sys),
  }));
  for (const { option, value, before } of settings)
    if (before !== undefined && write(held, option, value, sys)) changed.set(option, before);
  const flags = sys.getfl(own);
  const now = sys.getfl(held);
  if (flags >= 0 && now >= 0) sys.setfl(held, (now & ~so.O_NONBLOCK) | (flags & so.O_NONBLOCK));
  return changed;
}

/**
 * What of the table a socket has otherwise than another, and what the other has. `fresh` is one as configured: so a
 * broker that comes later finds what an earlier one had carried over to `held`.
 */
export function optionsBeyond(held: number, fresh: number, type: number, sys: Native): Changed {
  const changed = new Map<CarriedOption, Int32Array>();
  for (const option of carriedOptions) {
    if (option.level === so.IPPROTO_TCP && type !== SOCK_STREAM) continue;
    const now = read(held, option, sys);
    const usual = read(fresh, option, sys);
    if (now !== undefined && usual !== undefined && !same(now, usual)) changed.set(option, usual);
  }
  return changed;
}

/** Takes back what {@link carryOver} did. */
export function restoreOptions(held: number, changed: Changed, sys: Native): void {
  for (const option of carriedOptions) {
    const before = changed.get(option);
    if (before !== undefined) write(held, option, before, sys);
  }
}

function read(fd: number, { level, option, words }: CarriedOption, sys: Native): Int32Array | undefined {
  const value = new Int32Array(words);
  return sys.getsockopt(fd, level, option, value) < 0 ? undefined : value;
}

function write(fd: number, { level, option, words, force }: CarriedOption, value: Int32Array, sys: Native): boolean {
  if (words > 1) return sys.setsockopt(fd, level, option, new Uint8Array(value.buffer)) >= 0;
  const word = value[0] ?? 0;
  if (force === undefined) return sys.setsockopt(fd, level, option, word) >= 0;
  const bytes = Math.floor(word / 2);
  return sys.setsockopt(fd, level, force, bytes) >= 0 || sys.setsockopt(fd, level, option, bytes) >= 0;
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.every((word, index) => word === b[index]);
}
