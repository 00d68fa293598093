/**
 * Turns the configured sockets into held ones, all or nothing, but for failures that the caller tolerates. Sockets that
 * stay the same stay open; new ones are opened; the caller closes the rest only after success. After a failure
 * everything is as before. At start, passed sockets are used instead of new ones.
 */
import { constants } from "node:os";
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import type { BerthSpec } from "../../config/keys/spec.ts";
import type { Problem } from "../../config/toml/problem.ts";
import { SysError } from "../../errors.ts";
import type { Native } from "../../native.ts";
import { formatListenAddress } from "../../net/address.ts";
import { HeldSocket } from "./held-socket.ts";
import type { NamedSocket, SocketOwner } from "./named-socket.ts";
import { misfits, takePassed } from "./passed-places.ts";
import type { PassedSocket } from "./passed-socket.ts";
import { Rivals } from "./rivals.ts";
import { failureOf, type SocketFailure } from "./socket-failure.ts";
import { group, siblingOf, type Wanted, wantedBy } from "./wanted.ts";

const { EADDRINUSE } = constants.errno;

/** The sockets of each berth, and the open ones that no berth uses any more. */
export interface SocketSet {
  /** Those that were tolerated. */
  readonly failures: readonly SocketFailure[];
  readonly byBerth: ReadonlyMap<string, readonly NamedSocket[]>;
  readonly unwanted: readonly HeldSocket[];
  /** Passed sockets that no berth uses, still open. */
  readonly unclaimed: readonly PassedSocket[];
}

/** Where sockets come from. */
export interface SocketSources {
  readonly present: readonly SocketOwner[];
  /** Passed to the broker; owned from now on. */
  readonly passed: readonly PassedSocket[];
  readonly sys: Native;
  /** Whether the others are opened all the same. */
  readonly tolerates: (failure: SocketFailure) => boolean;
  /** Waits until closed sockets are gone from the store too, so that their addresses are free. */
  readonly awaitClosed: () => void;
}

/**
 * Opens the sockets of `specs`, and keeps those of `present` that fit. Returns the problems if any failed that is not
 * tolerated.
 */
export function openSockets(specs: readonly BerthSpec[], sources: SocketSources): SocketSet | Problem[] {
  const { present, passed, sys, awaitClosed, tolerates } = sources;
  const wanted = specs.flatMap(wantedBy);
  const unwanted = keepWhatFits(wanted, present);
  const fitting = takePassed(wanted, passed, sys);
  const unclaimed = passed.filter((one) => !fitting.has(one));
  const failures: SocketFailure[] = misfits(wanted, unclaimed);
  const rivals = new Rivals(unwanted, unclaimed, present);
  const opened: HeldSocket[] = [];
  const taken: HeldSocket[] = [];
  const changed: [HeldSocket, SocketOptions][] = [];
  for (const want of wanted) {
    try {
      const adopted = want.passed === undefined ? undefined : adoptOne(want, want.passed, sources);
      if (adopted !== undefined) {
        want.held = adopted;
        taken.push(adopted);
      } else if (want.held === undefined) {
        want.held = openOne(want, siblingOf(want), rivals, sources);
        opened.push(want.held);
      } else {
        changed.push([want.held, want.held.options]);
        want.held.reconfigure(want.spec.options);
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      failures.push(failureOf(want, error));
    }
  }
  const problems = failures.filter((failure) => !tolerates(failure)).map(({ problem }) => problem);
  if (problems.length > 0) {
    for (const socket of opened) socket.close();
    for (const socket of taken) socket.leave();
    for (const { handle } of passed) handle.close();
    awaitClosed();
    for (const socket of rivals.closed) problems.push(...restore(socket, () => socket.reopen()));
    for (const [socket, options] of changed) problems.push(...restore(socket, () => socket.reconfigure(options)));
    return problems;
  }
  const byBerth = group(wanted);
  takeBack(present, byBerth);
  return {
    byBerth,
    unwanted: [...unwanted].filter((socket) => !rivals.closed.has(socket)),
    unclaimed: unclaimed.filter(({ handle }) => handle.open),
    failures,
  };
}

/** Opens the sockets that a berth lacks. Returns all that it has then, in the order of its configuration. */
export function openMissing(
  spec: BerthSpec,
  sockets: readonly NamedSocket[],
  sys: Native,
): { readonly sockets: NamedSocket[]; readonly failures: SocketFailure[] } {
  const wanted = wantedBy(spec);
  const left = [...sockets];
  const failures: SocketFailure[] = [];
  for (const want of wanted) {
    const at = left.findIndex(({ name, socket }) => name === want.spec.name && socket.key === want.key);
    want.held = at < 0 ? undefined : left.splice(at, 1)[0]?.socket;
    if (want.held !== undefined) continue;
    try {
      want.held = HeldSocket.open(want.listen, want.spec.options, sys, siblingOf(want));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      failures.push(failureOf(want, error));
    }
  }
  return { sockets: group(wanted).get(spec.name) ?? [], failures };
}

/**
 * Keeps a held socket for each wanted one with the same key: first of the same berth and name, then of any. Returns the
 * rest.
 */
function keepWhatFits(wanted: readonly Wanted[], present: Iterable<SocketOwner>): Set<HeldSocket> {
  const exact = new Map<string, HeldSocket[]>();
  const spare = new Set<HeldSocket>();
  for (const berth of present) {
    for (const { name, socket } of berth.sockets) {
      const at = `${berth.name}\0${name}\0${socket.key}`;
      if (socket.reachable) exact.set(at, [...(exact.get(at) ?? []), socket]);
      spare.add(socket);
    }
  }
  for (const want of wanted) {
    want.held = exact.get(`${want.berth}\0${want.spec.name}\0${want.key}`)?.shift();
    if (want.held !== undefined) spare.delete(want.held);
  }
  const byKey = new Map<string, HeldSocket[]>();
  for (const socket of spare) if (socket.reachable) byKey.set(socket.key, [...(byKey.get(socket.key) ?? []), socket]);
  for (const want of wanted) {
    if (want.held !== undefined) continue;
    want.held = byKey.get(want.key)?.shift();
    if (want.held !== undefined) spare.delete(want.held);
  }
  return spare;
}

/** Those who have lent a socket to a thread take it back before it is no longer its berth's, and maybe another's. */
function takeBack(present: Iterable<SocketOwner>, byBerth: SocketSet["byBerth"]): void {
  for (const { name, sockets } of present) {
    for (const { socket } of sockets) {
      if (socket.closing.size === 0 || byBerth.get(name)?.some((one) => one.socket === socket)) continue;
      for (const tell of [...socket.closing]) tell();
    }
  }
}

/** Takes over a passed socket. Undefined if an earlier broker's is beyond repair: then its address is free. */
function adoptOne(want: Wanted, passed: PassedSocket, { sys, awaitClosed }: SocketSources): HeldSocket | undefined {
  try {
    return HeldSocket.adopt(passed, want.listen, want.spec.options, sys);
  } catch (error) {
    if (passed.stored === undefined || !(error instanceof SysError)) throw error;
    passed.storedCopy?.drop();
    awaitClosed();
    return undefined;
  }
}

/** Opens one. If its address is in use, closes our unused sockets of the same port first, and tries again. */
function openOne(
  want: Wanted,
  beside: HeldSocket | undefined,
  rivals: Rivals,
  { sys, awaitClosed }: SocketSources,
): HeldSocket {
  const open = (): HeldSocket => HeldSocket.open(want.listen, want.spec.options, sys, beside);
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== EADDRINUSE) throw error;
    rivals.closeAt(want.listen);
    awaitClosed();
    return open();
  }
}

/** Undoes what a failed {@link openSockets} did to a socket. */
function restore(socket: HeldSocket, undo: () => void): Problem[] {
  try {
    undo();
    return [];
  } catch (error) {
    const message = `cannot restore ${formatListenAddress(socket.listen)} after the failed reload: ${error instanceof Error ? error.message : error}`;
    return [{ file: "(reload)", line: 0, message, remedy: "restart the broker when the address is free" }];
  }
}
