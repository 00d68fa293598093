/**
 * Everything that a broker gives to the one that takes over. It pauses the broker, collects a copy of everything under
 * the names of stored-name.ts, and lets the broker go on if the takeover fails. takeover-server.ts decides which.
 */
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import type { AgentSocket } from "../agent/agent-socket.ts";
import type { Berths } from "../berths/berths.ts";
import type { Repairs } from "../berths/repairs/repairs.ts";
import type { Interceptions } from "../bind/interceptions.ts";
import type { OnDemand } from "../demand/on-demand.ts";
import type { NotifySockets } from "../notify/notify-sockets.ts";
import { BROKER_NAME, FALLBACK_NAME, LOCK_NAME, leaseName } from "../record/stored-name.ts";
import type { Listener } from "../session/listener.ts";
import type { Session } from "../session/session.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import type { Locks } from "./locks.ts";
import { StoreMirror } from "./store-mirror.ts";
import type { TakeoverStore } from "./takeover-store.ts";

/** The parts of a broker that a snapshot is made of. */
export interface SnapshotParts {
  readonly repairs: Repairs;
  readonly berths: Berths;
  readonly interceptions: Interceptions;
  readonly locks: Locks;
  /** The sockets that it has bound for itself. */
  readonly own: readonly NamedSocket[];
  readonly listener: Listener;
  readonly notify: NotifySockets;
  readonly agent: AgentSocket | undefined;
  readonly onDemand: OnDemand;
  readonly sys: Native;
  readonly log: Log;
}

export class TakeoverSnapshot {
  readonly #parts: SnapshotParts;
  #mirror: StoreMirror | undefined;

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
  }

  /** Pauses everything but the connection of the successor. Resolves when nothing can change. Throws SYSTEM_ERROR. */
  async pause(successor: Session): Promise<void> {
    const { repairs, berths, interceptions, listener, notify, agent, onDemand } = this.#parts;
    listener.pause(successor);
    const isWatchOver = onDemand.pause();
    notify.pause();
    agent?.pause();
    berths.leases.pause();
    await Promise.all([isWatchOver, repairs.pause(), interceptions.pause()]);
  }

  /** Stores a copy of everything. From now on it belongs to the successor as well. Throws SYSTEM_ERROR. */
  collect(store: TakeoverStore): void {
    const { berths, interceptions, locks, own, sys, log } = this.#parts;
    this.#mirror = new StoreMirror({ store, sys, log, berths });
    this.#mirror.keepOwn(own);
    this.#mirror.keepAll();
    const { fallback, servers } = interceptions.descriptors;
    for (const [server, fds] of servers) store.add(leaseName("binds", server), fds);
    if (fallback !== undefined) store.add(FALLBACK_NAME, [fallback]);
    store.add(LOCK_NAME, locks.fds);
    using self = FdHandle.adopt(check("pidfd_open", sys.pidfdOpen(process.pid)), sys);
    store.add(BROKER_NAME, [self.fd]);
  }

  /** The takeover failed: everything is this broker's alone. */
  abandon(): void {
    this.#mirror?.abandon();
    this.#mirror = undefined;
  }

  /** The successor has everything for good. */
  close(): void {
    this.#mirror?.close();
  }

  /** Goes on where {@link pause} has stopped. */
  resume(): void {
    const { repairs, berths, interceptions, own, listener, notify, agent, onDemand, log } = this.#parts;
    this.abandon();
    for (const { name, socket } of [...own, ...berths.list().flatMap(({ sockets }) => sockets)]) {
      try {
        // The successor may have set other options.
        socket.reapply();
      } catch (error) {
        log("warning", `the options of socket ${name} could not be set again: ${error}`, {
          event: "succession-failed",
        });
      }
    }
    repairs.resume(berths.list());
    interceptions.resume();
    berths.leases.resume();
    notify.resume();
    agent?.resume();
    onDemand.resume(berths.list());
    listener.resume();
  }
}
