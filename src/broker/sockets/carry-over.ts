/**
 * Copies the options that a server set on its own socket before bind(2) to the held socket that replaces it. An option
 * that differs from a new socket's was set by the server; all others stay as configured. Multicast groups and filters
 * cannot be read back, so they cannot be carried over: docs/bind-delivery.md.
 */

import { carriedOptions, type KernelOption } from "../../config/keys/socket-options.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import * as so from "../../net/socket-constants.ts";
import { SOCK_STREAM } from "../../net/transport.ts";

/** Options of a held socket before they were changed, so that the next tenant finds it as configured. */
export type Changed = ReadonlyMap<KernelOption, Int32Array>;

/** One option of a socket that its program has set. */
export interface Setting {
  readonly option: KernelOption;
  readonly value: Int32Array;
}

/** The carried options that differ from a new socket's. Empty when no descriptor is left for a new socket. */
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
 * Sets on `held` the options that differ on `own`, O_NONBLOCK included. Returns the earlier values. An option that the
 * kernel refuses stays: the server sees that with getsockopt(2), as without berthd.
 */
export function carryOver(own: number, held: number, domain: number, type: number, sys: Native): Changed {
  const changed = new Map<KernelOption, Int32Array>();
  // Read all before writing any: one option may change another.
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
 * The carried options that differ between two sockets, with the values of `fresh`, which is as configured. So a later
 * broker finds out what an earlier one carried over to `held`.
 */
export function optionsBeyond(held: number, fresh: number, type: number, sys: Native): Changed {
  const changed = new Map<KernelOption, Int32Array>();
  for (const option of carriedOptions) {
    if (option.level === so.IPPROTO_TCP && type !== SOCK_STREAM) continue;
    const now = read(held, option, sys);
    const usual = read(fresh, option, sys);
    if (now !== undefined && usual !== undefined && !same(now, usual)) changed.set(option, usual);
  }
  return changed;
}

/** Undoes {@link carryOver}. */
export function restoreOptions(held: number, changed: Changed, sys: Native): void {
  for (const option of carriedOptions) {
    const before = changed.get(option);
    if (before !== undefined) write(held, option, before, sys);
  }
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
