/**
 * The seccomp agent's socket: OCI runtimes tell there of the containers whose binds the broker is to answer
 * (`listenerPath` of a seccomp profile). Any user may connect. The kernel says who it is, and a user who may take no
 * berth is turned away before anything is read. What comes is told to `onMessage`; containers.ts decides.
 */
import { constants } from "node:os";
import { isScarcity } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { showOutOfBand } from "../../net/out-of-band.ts";
import { Arrivals } from "../access/limits/arrivals.ts";
import { Complaints } from "../access/limits/complaints.ts";
import { firstReservedFd } from "../access/limits/limits.ts";
import type { Quota } from "../access/limits/quota.ts";
import type { Owners } from "../access/owners.ts";
import { Peer } from "../access/peer.ts";
import { isPrivileged } from "../access/policy.ts";
import type { Visibility } from "../berths/visibility.ts";
import type { Guard } from "../guard/guard.ts";
import { openBrokerSocket } from "../sockets/control/broker-socket.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { PassedSocket } from "../sockets/passed-socket.ts";
import { StateConnection, type StateMessage } from "./state-connection.ts";

/** A runtime at the other end of a connection. The peer's facts can be asked for as long as the connection is open. */
export interface Runtime {
  readonly peer: Peer;
  readonly account: number;
  readonly privileged: boolean;
}

export interface AgentSocketOptions {
  readonly sys: Native;
  readonly guard: Guard;
  readonly log: Log;
  readonly quota: Quota;
  readonly owners: Owners;
  readonly visibility: Visibility;
  readonly brokerUid: number;
  readonly deadline: number;
  /** Soft RLIMIT_NOFILE of this process. */
  readonly maxFds: number;
  /** Owns the descriptors. Resolves with why it is refused, if it is; until then the connection is open. */
  readonly onMessage: (runtime: Runtime, message: StateMessage) => Promise<string | undefined>;
}

const { EAGAIN } = constants.errno;

/** Connections accepted in a row, and the pause after them in milliseconds: a flood must not occupy the broker. */
const BATCH = 8;
const PAUSE_MS = 10;
const BACKLOG = 1024;
/** Connections of one user at once. Each may have brought some descriptors. */
const MAX_CONNECTIONS = 16;

export class AgentSocket {
  readonly #socket: HeldSocket;
  readonly #sys: Native;
  readonly #connections = new Map<StateConnection, number>();
  readonly #arrivals = new Arrivals();
  #complaints: Complaints | undefined;
  #poll: Poll | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isPaused = false;

  private constructor(socket: HeldSocket, sys: Native) {
    this.#socket = socket;
    this.#sys = sys;
  }

  /** Opens it at a path, or for a name with `@` at an abstract address. It accepts nothing yet. Throws SYSTEM_ERROR. */
  static open(path: string, mode: number, offered: readonly PassedSocket[], sys: Native): AgentSocket {
    const abstract = path.startsWith("@");
    const address = { family: "unix", path: abstract ? path.slice(1) : path, abstract } as const;
    const listen = { kind: "stream", address, dualStack: false } as const;
    return new AgentSocket(openBrokerSocket(listen, { backlog: BACKLOG, mode, v6only: true }, offered, sys), sys);
  }

  /** The socket, for those that hand it over. */
  get socket(): HeldSocket {
    return this.#socket;
  }

  /** Accepts connections from now on. */
  start(options: AgentSocketOptions): void {
    this.#complaints = new Complaints(options.log);
    this.#poll = new this.#sys.Poll(this.#socket.fd, () => this.#accept(options));
    this.#watch();
  }

  /** Accepts nothing until {@link resume}. Runtimes wait in the socket's queue. */
  pause(): void {
    this.#isPaused = true;
    clearTimeout(this.#timer);
    this.#poll?.start(0);
  }

  resume(): void {
    this.#isPaused = false;
    this.#watch();
  }

  /** Idempotent. */
  close(): void {
    clearTimeout(this.#timer);
    this.#poll?.close();
    this.#poll = undefined;
    for (const connection of this.#connections.keys()) connection.close();
    this.#connections.clear();
    this.#complaints?.close();
    this.#complaints = undefined;
    this.#socket.retire();
  }

  #watch(): void {
    if (!this.#isPaused) this.#poll?.start(READABLE);
  }

  #accept(options: AgentSocketOptions): void {
    for (let count = 0; count < BATCH; count++) {
      const fd = this.#sys.accept(this.#socket.fd);
      if (fd === -EAGAIN) return;
      if (fd < 0) break;
      this.#admit(fd, options);
    }
    // Also after an error: descriptors may have run out.
    this.#poll?.start(0);
    this.#timer = setTimeout(() => this.#watch(), PAUSE_MS).unref();
  }

  #admit(fd: number, options: AgentSocketOptions): void {
    const { sys, guard, quota, owners, brokerUid, deadline, onMessage } = options;
    showOutOfBand(fd, sys);
    let peer: Peer;
    try {
      peer = Peer.of(fd, sys);
    } catch (error) {
      guard.close("stranger", fd);
      if (!(error instanceof Error)) throw error;
      return;
    }
    const now = performance.now();
    const privileged = isPrivileged(peer.uid, brokerUid);
    const account = privileged ? peer.uid : owners.accountOf(peer.uid, now);
    const runtime: Runtime = { peer, account, privileged };
    const obstacle = this.#obstacle(fd, runtime, now, options);
    if (obstacle !== undefined) {
      guard.close(peer.uid, fd); // descriptors may wait in it
      return this.#complain(peer, obstacle);
    }
    const end = (why?: string): void => {
      this.#connections.delete(connection);
      connection.close();
      quota.refund("connections", account);
      if (why !== undefined) this.#complain(peer, why);
    };
    const take = (message: StateMessage | string): void => {
      if (typeof message === "string") return end(message);
      void onMessage(runtime, message).then(end);
    };
    const connection = new StateConnection(FdHandle.adopt(fd, sys), peer, { sys, guard, deadline, onMessage: take });
    this.#connections.set(connection, account);
  }

  /** Why the connection is closed at once. If there is no reason, it is charged. */
  #obstacle(
    fd: number,
    { peer, account, privileged }: Runtime,
    now: number,
    { quota, maxFds, visibility }: AgentSocketOptions,
  ): string | undefined {
    if (!privileged && !this.#arrivals.admit(account, now)) return "its user connects too often";
    if (fd >= firstReservedFd(maxFds, privileged)) return "the broker has no descriptor left for it";
    if (!privileged && !mayTakeAny(peer, visibility)) return "its user may take no berth";
    const open = [...this.#connections.values()].filter((other) => other === account).length;
    const isWithin = open < MAX_CONNECTIONS && quota.charge("connections", account);
    return isWithin ? undefined : "its user has too many connections open";
  }

  #complain({ pid, uid }: Peer, why: string): void {
    this.#complaints?.log("warning", `container of pid ${pid} (uid ${uid}) refused: ${why}`, {
      event: "container-refused",
      pid,
      uid,
    });
  }
}

function mayTakeAny(peer: Peer, visibility: Visibility): boolean {
  try {
    return visibility.mayTakeAny(peer);
  } catch (error) {
    if (!isScarcity(error)) throw error;
    return false;
  }
}
