/**
 * Turns the configured sockets into held ones, all or nothing. Sockets that stay the same stay open; new ones are
 * opened; the caller closes the rest only after success. After a failure everything is as before. At start, passed
 * sockets are used instead of new ones.
 */
import { constants } from "node:os";
import type { SocketOptions } from "../../config/keys/socket-options.ts";
import type { BerthSpec, SocketSpec } from "../../config/keys/spec.ts";
import type { Problem } from "../../config/toml/problem.ts";
import { formatOrigin } from "../../config/toml/problem.ts";
import { SysError } from "../../errors.ts";
import type { Native } from "../../native.ts";
import { formatListenAddress, type ListenAddress } from "../../net/address.ts";
import { HeldSocket } from "./held-socket.ts";
import type { NamedSocket, SocketOwner } from "./named-socket.ts";
import { describePassed, fits, type PassedSocket, socketInode } from "./passed-socket.ts";
import { describeHolders } from "./socket-holders.ts";
import { socketKey } from "./socket-key.ts";

const { EADDRINUSE } = constants.errno;

/** One configured address. */
interface Wanted {
  readonly berth: string;
  readonly spec: SocketSpec;
  readonly listen: SocketSpec["listen"][number];
  readonly key: string;
  held: HeldSocket | undefined;
  passed: PassedSocket | undefined;
}

/** The sockets of each berth, and the open ones that no berth uses any more. */
export interface SocketSet {
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
  /** Waits until closed sockets are gone from the store too, so that their addresses are free. */
  readonly awaitClosed: () => void;
}

/** Opens the sockets of `specs`, and keeps those of `present` that fit. Returns the problems if any failed. */
export function openSockets(specs: readonly BerthSpec[], sources: SocketSources): SocketSet | Problem[] {
  const { present, passed, sys, awaitClosed } = sources;
  const wanted = specs.flatMap(wantedBy);
  const unwanted = keepWhatFits(wanted, present);
  const fitting = takePassed(wanted, passed, sys);
  const unclaimed = passed.filter((one) => !fitting.has(one));
  const problems: Problem[] = misfits(wanted, unclaimed);
  const opened: HeldSocket[] = [];
  const taken: HeldSocket[] = [];
  const closed: HeldSocket[] = [];
  const changed: [HeldSocket, SocketOptions][] = [];
  for (const want of wanted) {
    try {
      const adopted = want.passed === undefined ? undefined : adoptOne(want, want.passed, sources);
      if (adopted !== undefined) {
        want.held = adopted;
        taken.push(adopted);
      } else if (want.held === undefined) {
        want.held = openOne(want, unwanted, closed, unclaimed, sources);
        opened.push(want.held);
      } else {
        changed.push([want.held, want.held.options]);
        want.held.reconfigure(want.spec.options);
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      problems.push(problemOf(want, error));
    }
  }
  if (problems.length > 0) {
    for (const socket of opened) socket.close();
    for (const socket of taken) socket.leave();
    for (const { handle } of passed) handle.close();
    awaitClosed();
    for (const socket of closed) problems.push(...restore(socket, () => socket.reopen()));
    for (const [socket, options] of changed) problems.push(...restore(socket, () => socket.reconfigure(options)));
    return problems;
  }
  return { byBerth: group(wanted), unwanted: [...unwanted].filter((socket) => !closed.includes(socket)), unclaimed };
}

function wantedBy(berth: BerthSpec): Wanted[] {
  return berth.sockets.flatMap((spec) =>
    spec.listen.map((listen) => ({
      berth: berth.name,
      spec,
      listen,
      key: socketKey(listen, spec.options),
      held: undefined,
      passed: undefined,
    })),
  );
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

/**
 * Chooses a passed socket for each wanted one without a held one. In this order: an earlier broker's with the same
 * berth and name; any of an earlier broker with the same key; a .socket unit's with its name; a unit's with its
 * address, unless its name is another berth's.
 */
function takePassed(wanted: readonly Wanted[], passed: readonly PassedSocket[], sys: Native): Set<PassedSocket> {
  const names = new Set(wanted.map(passedName));
  const taken = new Set<PassedSocket>();
  const places: readonly ((want: Wanted, passed: PassedSocket) => boolean)[] = [
    ({ berth, spec }, { stored }) => stored?.berth === berth && stored.socket === spec.name,
    (_, { stored }) => stored !== undefined,
    (want, { name }) => name === passedName(want),
    (_, { name }) => !names.has(name),
  ];
  for (const isPlace of places) {
    for (const want of wanted) {
      if (want.held !== undefined || want.passed !== undefined) continue;
      want.passed = passed.find(
        (one) => !taken.has(one) && isPlace(want, one) && fits(one, want.listen, want.spec.options, want.key, sys),
      );
      if (want.passed !== undefined) taken.add(want.passed);
    }
  }
  return taken;
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

/** Its name in a .socket unit: FileDescriptorName=BERTH.SOCKET. */
function passedName({ berth, spec }: Wanted): string {
  return `${berth}.${spec.name}`;
}

/** Passed sockets with a wanted socket's name but another address or kind: one of the two must be corrected. */
function misfits(wanted: readonly Wanted[], unclaimed: readonly PassedSocket[]): Problem[] {
  const inodes = new Set(wanted.flatMap(({ passed }) => (passed === undefined ? [] : [socketInode(passed.handle.fd)])));
  return unclaimed.flatMap((passed) => {
    const meant = wanted.find((want) => passedName(want) === passed.name);
    // A unit's socket that is also in the store was taken from there.
    if (meant === undefined || inodes.has(socketInode(passed.handle.fd))) return [];
    const { berth, spec } = meant;
    const listens = spec.listen.map(formatListenAddress).join(", ");
    return [
      {
        ...meant.listen.origin,
        message: `berth ${berth}, socket ${spec.name}: the descriptor passed as ${passed.name} is ${describePassed(passed)}, and the socket is ${listens}`,
        remedy: "write the same address and kind here and in the .socket unit, where udp is ListenDatagram=",
      },
    ];
  });
}

/**
 * Opens one. If its address is in use, closes our unused sockets of the same port first, and tries again. Sockets of
 * berths with a tenant stay open: the tenant has them too, so closing ours would free nothing.
 */
function openOne(
  want: Wanted,
  unwanted: Set<HeldSocket>,
  closed: HeldSocket[],
  unclaimed: readonly PassedSocket[],
  { present, sys, awaitClosed }: SocketSources,
): HeldSocket {
  const open = (): HeldSocket => HeldSocket.open(want.listen, want.spec.options, sys);
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== EADDRINUSE) throw error;
    const taken = new Set(
      present.flatMap(({ lease, sockets }) => (lease === undefined ? [] : sockets)).map(({ socket }) => socket),
    );
    const rivals = [...unwanted].filter(
      (socket) => !closed.includes(socket) && !taken.has(socket) && samePlace(socket.listen, want),
    );
    for (const rival of rivals) {
      rival.close();
      closed.push(rival);
    }
    for (const passed of unclaimed) {
      if (typeof passed.is === "string" || !samePlace(passed.is, want)) continue;
      passed.storedCopy?.drop();
      passed.handle.close();
    }
    awaitClosed();
    return open();
  }
}

function samePlace(rival: ListenAddress, want: Wanted): boolean {
  const a = rival.address;
  const b = want.listen.address;
  if (a.family === "unix" || b.family === "unix")
    return a.family === "unix" && b.family === "unix" && a.path === b.path;
  return rival.kind === want.listen.kind && a.port === b.port;
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

function problemOf(want: Wanted, error: Error): Problem {
  const { origin } = want.listen;
  const errno = error instanceof SysError ? error.errnoName : undefined;
  return {
    ...origin,
    message: `berth ${want.berth}, socket ${want.spec.name}: ${error.message}`,
    remedy:
      (errno === "EADDRINUSE" ? holderRemedy(want.listen) : undefined) ??
      remedies[errno ?? ""] ??
      `check the address and the options of the socket at ${formatOrigin(origin)}`,
  };
}

function holderRemedy(listen: ListenAddress): string | undefined {
  const holders = describeHolders(listen);
  return holders === undefined ? undefined : `${holders} has this address; stop it, or choose another`;
}

const remedies: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process has this address; find it with `ss -tulpn` and stop it, or choose another",
  EADDRNOTAVAIL: "the host has no such address; add it to an interface, or set freebind = true",
  EACCES: "the broker's user may not bind this; ports below 1024 need root or CAP_NET_BIND_SERVICE",
  EPERM: "the broker's user may not set this; run it as root or leave the option out",
  EMFILE: "the broker may not open more files; raise its RLIMIT_NOFILE (LimitNOFILE=)",
  ENODEV: "the host has no such interface; name one that `ip link` shows",
  EAFNOSUPPORT: "this kernel does not have the address family; use an address of another one",
  ENOENT: "the broker made the folder, but somebody removed it; find out who, and start again",
};

function group(wanted: readonly Wanted[]): Map<string, NamedSocket[]> {
  const byBerth = new Map<string, NamedSocket[]>();
  for (const { berth, spec, held } of wanted) {
    if (held === undefined) continue;
    const list = byBerth.get(berth) ?? [];
    list.push({ name: spec.name, socket: held });
    byBerth.set(berth, list);
  }
  return byBerth;
}
