/**
 * From the sockets a configuration asks for to the sockets held, all or nothing: what stays the same stays open, what
 * is new is opened, and only when all of that has succeeded is the rest closed. At a failure everything is as before.
 */
import { constants } from "node:os";
import { formatListenAddress } from "../address.ts";
import { formatOrigin } from "../config/problem.ts";
import type { BerthSpec, Problem, SocketOptions, SocketSpec } from "../config/spec.ts";
import { SysError } from "../errors.ts";
import type { Native } from "../native.ts";
import type { Berth, NamedSocket } from "./berth.ts";
import { HeldSocket, socketKey } from "./held-socket.ts";

const { EADDRINUSE } = constants.errno;

/** One socket that the configuration asks for. */
interface Wanted {
  readonly berth: string;
  readonly spec: SocketSpec;
  readonly listen: SocketSpec["listen"][number];
  readonly key: string;
  held: HeldSocket | undefined;
}

/** The sockets of each berth, and those nobody wants any more, still open. */
export interface SocketSet {
  readonly byBerth: ReadonlyMap<string, readonly NamedSocket[]>;
  readonly unwanted: readonly HeldSocket[];
}

/** Opens what `specs` ask for, keeping sockets of `present` wherever they fit. Returns the problems if any failed. */
export function openSockets(specs: readonly BerthSpec[], present: Iterable<Berth>, sys: Native): SocketSet | Problem[] {
  const wanted = specs.flatMap(wantedBy);
  const unwanted = keepWhatFits(wanted, present);
  const opened: HeldSocket[] = [];
  const closed: HeldSocket[] = [];
  const changed: [HeldSocket, SocketOptions][] = [];
  const problems: Problem[] = [];
  for (const want of wanted) {
    try {
      if (want.held === undefined) {
        want.held = openOne(want, unwanted, closed, sys);
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
    for (const socket of closed) problems.push(...restore(socket, () => socket.reopen()));
    for (const [socket, options] of changed) problems.push(...restore(socket, () => socket.reconfigure(options)));
    return problems;
  }
  return { byBerth: group(wanted), unwanted: [...unwanted].filter((socket) => !closed.includes(socket)) };
}

function wantedBy(berth: BerthSpec): Wanted[] {
  return berth.sockets.flatMap((spec) =>
    spec.listen.map((listen) => ({
      berth: berth.name,
      spec,
      listen,
      key: socketKey(listen, spec.options),
      held: undefined,
    })),
  );
}

/** Gives each wanted socket a held one with the same key: first of the same berth and name, then of any. Returns the rest. */
function keepWhatFits(wanted: readonly Wanted[], present: Iterable<Berth>): Set<HeldSocket> {
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

/** Opens one; when the address is in use by sockets that are to go anyway, those of the same port go first. */
function openOne(want: Wanted, unwanted: Set<HeldSocket>, closed: HeldSocket[], sys: Native): HeldSocket {
  const open = (): HeldSocket => HeldSocket.open(want.listen, want.spec.options, sys);
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== EADDRINUSE) throw error;
    const rivals = [...unwanted].filter((socket) => !closed.includes(socket) && samePlace(socket, want));
    if (rivals.length === 0) throw error;
    for (const rival of rivals) {
      rival.close();
      closed.push(rival);
    }
    return open();
  }
}

function samePlace(socket: HeldSocket, want: Wanted): boolean {
  const a = socket.listen.address;
  const b = want.listen.address;
  if (a.family === "unix" || b.family === "unix")
    return a.family === "unix" && b.family === "unix" && a.path === b.path;
  return socket.listen.kind === want.listen.kind && a.port === b.port;
}

/** Makes a socket again what it was before a set that could not be opened. */
function restore(socket: HeldSocket, undo: () => void): Problem[] {
  try {
    undo();
    return [];
  } catch (error) {
    const message = `${formatListenAddress(socket.listen)} could not be made again what it was: ${error instanceof Error ? error.message : error}`;
    return [{ file: "(reload)", line: 0, message, remedy: "restart the broker when the address is free" }];
  }
}

function problemOf(want: Wanted, error: Error): Problem {
  const { origin } = want.listen;
  const errno = error instanceof SysError ? error.errnoName : undefined;
  return {
    ...origin,
    message: `berth ${want.berth}, socket ${want.spec.name}: ${error.message}`,
    remedy: remedies[errno ?? ""] ?? `see what ${formatOrigin(origin)} asks for`,
  };
}

const remedies: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process has this address; find it with `ss -tulpn` and stop it, or choose another",
  EADDRNOTAVAIL: "the host has no such address; add it to an interface, or set freebind = true",
  EACCES: "the broker's user may not bind this; ports below 1024 need root or CAP_NET_BIND_SERVICE",
  EPERM: "the broker's user may not set this; run it as root or leave the option out",
  EMFILE: "the broker may not open more files; raise its RLIMIT_NOFILE (LimitNOFILE=)",
  ENODEV: "the host has no such interface; name one that `ip link` shows",
  EAFNOSUPPORT: "this kernel lacks the address family; use the other one",
  ENOENT: "the folder of the path is not there",
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
