/**
 * The first step of a broker's start: gets what earlier brokers, units and the service manager left, and takes the
 * locks that keep other brokers away. It opens no socket.
 */
import { join } from "node:path";
import type { BerthSpec } from "../config/keys/spec.ts";
import { BerthError } from "../errors.ts";
import { closeAll, type FdHandle } from "../fd.ts";
import type { Foundation } from "./parts.ts";
import { findFormerTenants } from "./restart/former-tenants.ts";
import { readHeldNote } from "./restart/held-note.ts";
import { awaitLastProcesses } from "./restart/last-processes.ts";
import { Ledger } from "./restart/ledger.ts";
import type { Locks } from "./restart/locks.ts";
import { Patience } from "./restart/patience.ts";
import { reclaimAll } from "./restart/reclaim.ts";
import { closeInherited, type InheritedFds, joinInherited, noInheritedFds, sortInherited } from "./restart/restore.ts";
import { LENT } from "./restart/takeover-client.ts";
import { examineSockets } from "./sockets/examine-sockets.ts";
import { socketInode } from "./sockets/passed-socket.ts";

/** What came from outside of this process, and the record of leases that led to it. */
export interface Inherited {
  readonly fds: InheritedFds;
  readonly ledger: Ledger | undefined;
}

/**
 * Step 1: gets all that earlier brokers, units and the service manager left for this one, and the locks that keep other
 * brokers away. Owns `passed`. Throws BROKER_RUNNING.
 */
export async function inherit(
  foundation: Foundation,
  specs: readonly BerthSpec[],
  passed: InheritedFds,
): Promise<Inherited> {
  const { control, sys } = foundation;
  const { predecessor, passed: given = [] } = foundation.options;
  let fds = passed;
  if (predecessor !== undefined) {
    if (given.length > 0)
      throw new BerthError(
        "USAGE",
        "options passed and predecessor exclude each other: a broker with passed descriptors cannot take over",
      );
    fds = sortInherited(await predecessor.takeOver(), undefined, sys, LENT);
  }
  try {
    fds = { ...fds, sockets: control.take(fds.sockets) };
    takeLocks(foundation, fds);
    // What a predecessor wrote down it hands over itself.
    if (predecessor !== undefined) return { fds: await examined(fds, foundation), ledger: undefined };
    const { ofSocket } = foundation.locks;
    if (ofSocket !== undefined) await awaitLastProcesses(readHeldNote(ofSocket.fd).processes, sys);
    const patience = new Patience();
    const opened = openLedger(foundation, fds, patience);
    fds = joinInherited(fds, opened?.reclaimed ?? noInheritedFds());
    fds = joinInherited(fds, findUnrecorded(foundation, specs, fds, patience));
    return { fds: await examined(fds, foundation), ledger: opened?.ledger };
  } catch (error) {
    closeInherited(fds);
    throw error;
  }
}

/** With what the sockets tell, unless a tenant holds them up. */
async function examined(fds: InheritedFds, { guard }: Foundation): Promise<InheritedFds> {
  return { ...fds, sockets: [...(await examineSockets(fds.sockets, guard))] };
}

/** The inherited locks of files that this broker does not lock are closed. */
function takeLocks({ roots, control, locks }: Foundation, inherited: InheritedFds): void {
  if (roots.folder !== undefined) lockState(roots.folder, locks, inherited.locks);
  const path = control.unbound;
  if (path !== undefined) locks.ofSocket = locks.take(`${path}.lock`, 0o755, inherited.locks);
  closeAll(inherited.locks.filter((lock) => !locks.has(lock)));
}

/** Keeps other brokers from the state folder. Throws BROKER_RUNNING. */
export function lockState(folder: string, locks: Locks, inherited: readonly FdHandle[] = []): void {
  locks.take(join(folder, "lock"), 0o700, inherited);
}

/**
 * The record of leases, beside the control socket, and what its tenants still have of an earlier broker that handed
 * over nothing. A broker that cannot open the record serves without, and logs why.
 */
export function openLedger(
  foundation: Foundation,
  { leases }: Pick<InheritedFds, "leases"> = noInheritedFds(),
  patience: Patience = new Patience(),
): { ledger: Ledger; reclaimed: InheritedFds } | undefined {
  const { control, log, sys, options } = foundation;
  const { path } = control;
  if (path === "" || path.startsWith("@")) return undefined;
  let ledger: Ledger | undefined;
  try {
    ledger = Ledger.open(`${path}.leases`, foundation);
    const entries = ledger.read();
    const stored = new Set(leases.map(({ is }) => is.lease));
    const reclaimed = options.predecessor === undefined ? reclaimAll(entries, { sys, log, stored, patience }) : [];
    return { ledger, reclaimed: sortInherited(reclaimed, undefined, sys) };
  } catch (error) {
    ledger?.close();
    if (!(error instanceof Error)) throw error;
    const message = `cannot write ${path}.leases, so the next broker cannot restore the leases: ${error.message}`;
    log("warning", message, { event: "ledger" });
    return undefined;
  }
}

/** What living tenants have of an earlier broker, and no record names. */
function findUnrecorded(
  { roots, locks, sys, log }: Foundation,
  specs: readonly BerthSpec[],
  { leases, sockets }: InheritedFds,
  patience: Patience,
): InheritedFds {
  const found = findFormerTenants(specs, new Set(leases.map(({ is }) => is.berth)), {
    have: new Set(sockets.map(({ handle }) => socketInode(handle.fd))),
    noted: locks.ofSocket === undefined ? new Set() : readHeldNote(locks.ofSocket.fd).inodes,
    rangeOf: (spec) => roots.rangeOf(spec),
    patience,
    sys,
    log,
  });
  return sortInherited(found, undefined, sys);
}
