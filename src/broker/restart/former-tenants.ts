/**
 * Finds tenants of an earlier broker that no record names, for the record was lost: a process that may take a berth and
 * has a socket at its address that the broker's user created, or a process that has a socket which an earlier broker
 * noted. Returns their sockets and leases as a service manager's
 * store would pass them. It takes nothing from any other process.
 */
import { fstatSync, lstatSync, readFileSync, writeSync } from "node:fs";
import type { BerthSpec } from "../../config/keys/spec.ts";
import { check } from "../../errors.ts";
import { closeAll, FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { ListenAddress } from "../../net/address.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import type { PassedFd } from "../../systemd/activation.ts";
import { unitOfCgroup } from "../access/peer.ts";
import { isNamed, isPrivileged, type PeerFacts } from "../access/policy.ts";
import { environmentOf } from "../access/process-environment.ts";
import { leaseId } from "../berths/berth/lease-id.ts";
import { encodeLeaseFacts } from "../record/lease-facts.ts";
import { keyHash, leaseName, socketName } from "../record/stored-name.ts";
import { knownSocketsOf } from "../sockets/holders/process-sockets.ts";
import { type Holder, holdersOf, SocketTables } from "../sockets/holders/socket-holders.ts";
import { socketKey } from "../sockets/socket-key.ts";
import type { Patience } from "./patience.ts";
import { duplicateSocket } from "./reclaim.ts";

export interface FormerTenantsOptions {
  /** Inodes of sockets that there is no need to look for. */
  readonly have: ReadonlySet<bigint>;
  /** Inodes of sockets that an earlier broker noted as its own. */
  readonly noted: ReadonlySet<bigint>;
  readonly patience: Patience;
  readonly sys: Native;
  readonly log: Log;
  /** The ids of a berth's range. */
  rangeOf(spec: BerthSpec): { readonly base: number; readonly count: number } | undefined;
}

/** A socket of a berth that is bound already, and who has it. */
interface Found {
  readonly socket: string;
  readonly listen: ListenAddress;
  readonly hash: string;
  readonly inode: bigint;
  readonly holders: readonly Holder[];
}

/** What /proc tells of a process. */
interface Process extends PeerFacts {
  readonly pid: number;
  readonly parent: number;
  /** The lease in its environment: a hint, for it says what it likes. */
  readonly lease: string | undefined;
}

/** The sockets and leases of tenants of those berths that are not in `known`; the caller owns them. */
export function findFormerTenants(
  specs: readonly BerthSpec[],
  known: ReadonlySet<string>,
  options: FormerTenantsOptions,
): PassedFd[] {
  const tables = new SocketTables();
  const bound = specs
    .filter(({ name }) => !known.has(name))
    .map((spec) => ({ spec, sockets: spec.sockets.flatMap((socket) => boundSockets(socket, tables, options.have)) }))
    .filter(({ sockets }) => sockets.length > 0);
  const holders = holdersOf(
    bound.flatMap(({ sockets }) => sockets.map(({ inode }) => inode)),
    (pid) => options.patience.spend((milliseconds) => knownSocketsOf(pid, milliseconds)),
  );
  return bound.flatMap(({ spec, sockets }) => {
    const found = sockets.map((socket) => ({ ...socket, holders: holders.get(socket.inode) ?? [] }));
    return takeBack(spec, found, options);
  });
}

function boundSockets(
  { name, listen, options }: BerthSpec["sockets"][number],
  tables: SocketTables,
  have: ReadonlySet<bigint>,
): Omit<Found, "holders">[] {
  return listen.flatMap((one) => {
    const hash = keyHash(socketKey(one, options));
    return tables
      .boundTo(one)
      .filter((inode) => !have.has(inode))
      .map((inode) => ({ socket: name, listen: one, hash, inode }));
  });
}

function takeBack(spec: BerthSpec, found: readonly Found[], options: FormerTenantsOptions): PassedFd[] {
  const { sys, log } = options;
  const processes = new Map<number, Process | undefined>();
  const isTenant = ({ pid }: Holder): boolean => {
    if (!processes.has(pid)) processes.set(pid, readProcess(pid, options));
    const one = processes.get(pid);
    return one !== undefined && couldBeTenant(spec, one, options);
  };
  // A socket that anybody else has as well may be that program's own.
  const ours = found.filter(
    ({ inode, holders }) => holders.length > 0 && (holders.map(isTenant).every(Boolean) || options.noted.has(inode)),
  );
  const candidates = [...processes.values()].filter(
    (one) => one !== undefined && ours.some(({ holders }) => holders.some(({ pid }) => pid === one.pid)),
  );
  const tenant = candidates.find((one) => !candidates.some((other) => other?.pid === one?.parent));
  if (tenant === undefined) return [];
  const taken: PassedFd[] = [];
  try {
    using pidfd = FdHandle.adopt(check("pidfd_open", sys.pidfdOpen(tenant.pid)), sys);
    for (const one of ours) {
      const holder = one.holders.find(({ pid }) => pid === tenant.pid);
      const handle = holder && duplicateSocket(pidfd.fd, holder.fd, one.inode, options);
      if (handle === undefined) continue;
      if (isOurs(handle.fd)) taken.push({ name: nameOf(spec, one), handle });
      else handle.close();
    }
    if (taken.length === 0 || sys.pollNow(pidfd.fd, POLLIN) !== 0) {
      closeAll(taken.map(({ handle }) => handle));
      return [];
    }
    const lease = tenant.lease ?? leaseId();
    const name = leaseName("lease", { berth: spec.name, lease });
    using page = FdHandle.adopt(check("memfd_create", sys.memfd("berth-lease")), sys);
    const { pid, uid, unit } = tenant;
    writeSync(page.fd, encodeLeaseFacts({ pid, uid, unit, ready: true, incoming: false }), 0, undefined, 0);
    log("warning", `berth ${spec.name}: no record names its tenant; pid ${pid} has its sockets and keeps the berth`, {
      event: "reclaimed",
      berth: spec.name,
      pid,
    });
    return [...taken, { name, handle: pidfd.move() }, { name, handle: page.move() }];
  } catch (error) {
    closeAll(taken.map(({ handle }) => handle));
    if (!(error instanceof Error)) throw error;
    const message = `berth ${spec.name}: cannot take its sockets back from pid ${tenant.pid}: ${error.message}`;
    log("warning", message, { event: "not-reclaimed", berth: spec.name, pid: tenant.pid });
    return [];
  }
}

/** Whether this user created a socket: the broker gives its sockets other users (socket-user.ts), never a group. */
function isOurs(fd: number): boolean {
  const { uid, gid } = fstatSync(fd);
  return uid === process.geteuid?.() || (process.geteuid?.() === 0 && gid === process.getegid?.());
}

function nameOf({ name: berth }: BerthSpec, { socket, listen: { address }, hash, inode }: Found): string {
  const hasPath = address.family === "unix" && !address.abstract;
  const path = hasPath ? lstatSync(address.path, { bigint: true, throwIfNoEntry: false })?.ino : undefined;
  return socketName({ berth, socket, hash, inode, ...(path !== undefined && { path }) });
}

/**
 * One that the berth names, or the user that its server runs as. Root and the broker's user have sockets of their own,
 * so such a process must have been started with a lease.
 */
function couldBeTenant(spec: BerthSpec, one: Process, { rangeOf }: FormerTenantsOptions): boolean {
  if (isPrivileged(one.uid, process.geteuid?.() ?? 0)) return one.lease !== undefined;
  const range = rangeOf(spec);
  const isOfRange = range !== undefined && one.uid >= range.base && one.uid < range.base + range.count;
  return isOfRange || spec.server.user?.uid === one.uid || isNamed(spec.tenant, one);
}

function readProcess(pid: number, options: FormerTenantsOptions): Process | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const numbers = (key: string): number[] =>
      (new RegExp(`^${key}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "").split(/\s+/).filter(Boolean).map(Number);
    const [, uid = -1] = numbers("Uid");
    const [, gid = -1] = numbers("Gid");
    // The kernel reads no page of a file there, so no program can hold it up (environ_read, fs/proc/base.c: FOLL_ANON).
    const { patience, sys } = options;
    const environment = patience.spend((milliseconds) => environmentOf(pid, milliseconds, sys));
    const lease = environment.find((line) => /^BERTHD_LEASE=[0-9a-f]{16}$/.test(line))?.slice("BERTHD_LEASE=".length);
    const unit = unitOfCgroup(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
    return { pid, parent: numbers("PPid")[0] ?? 0, uid, groups: [gid, ...numbers("Groups")], unit, lease };
  } catch {
    return undefined; // it has exited, or is another user's
  }
}
