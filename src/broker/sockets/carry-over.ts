/**
 * What a server had set on its own socket before bind(2) is set on the held one that takes its place, so that nothing
 * it did is lost. Only what differs from a new socket of that kind was set by it; the rest stays as configured. What
 * cannot be read back (joined multicast groups, attached filters) cannot be carried over: docs/bind-delivery.md.
 */

import { carriedOptions, type KernelOption } from "../../config/keys/socket-options.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import * as so from "../../net/socket-constants.ts";
import { SOCK_STREAM } from "../../net/transport.ts";

/** One option of a socket that its program has set. */
export interface Setting {
  readonly option: KernelOption;
  readonly value: Int32Array;
}

/**
 * What of the table differs from a new socket of that kind; nothing when there is no descriptor left to compare with.
 */
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
 * Sets on `held` what `own` was given beyond the defaults, O_NONBLOCK included. Returns the names of the options it
 * set. An option the kernel refuses is left as it was: the server would find out by asking, as it would have from the
 * kernel. What is set is set back when the lease ends (socket-repair.ts).
 */
export function carryOver(own: number, held: number, domain: number, type: number, sys: Native): string[] {
  const settings = settingsOf(own, domain, type, sys);
  const carried = settings
    .filter(({ option, value }) => write(held, option, value, sys))
    .map(({ option }) => option.name);
  const flags = sys.getfl(own);
  const now = sys.getfl(held);
  if (flags >= 0 && now >= 0) sys.setfl(held, (now & ~so.O_NONBLOCK) | (flags & so.O_NONBLOCK));
  return carried;
}

function read(fd: number, { level, option, words }: KernelOption, sys: Native): Int32Array | undefined {
  const value = new Int32Array(words);
  return sys.getsockopt(fd, level, option, value) < 0 ? undefined : value;
}

function write(fd: number, { level, option, words, force }: KernelOption, value: Int32Array, sys: Native): boolean {
  if (words > 1) return sys.setsockopt(fd, level, option, new Uint8Array(value.buffer)) >= 0;
  const word = value[0] ?? 0;
  if (force === undefined) return sys.setsockopt(fd, level, option, word) >= 0;
  const bytes = Math.floor(word / 2);
  return sys.setsockopt(fd, level, force, bytes) >= 0 || sys.setsockopt(fd, level, option, bytes) >= 0;
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.every((word, index) => word === b[index]);
}
