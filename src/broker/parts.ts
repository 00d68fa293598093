/** The parts of a broker, as the steps of start.ts make them, and the order in which they are closed. */

import type { DraftReader } from "../config/drafts.ts";
import type { Log } from "../log.ts";
import type { Native } from "../native.ts";
import type { Quota } from "./access/limits/quota.ts";
import type { Owners } from "./access/owners.ts";
import type { AgentSocket } from "./agent/agent-socket.ts";
import type { BerthEvents } from "./berths/berth/berth-events.ts";
import type { BerthRoots } from "./berths/berth-roots.ts";
import type { Berths } from "./berths/berths.ts";
import type { InterfaceFollower } from "./berths/interface-follower.ts";
import type { Recovery } from "./berths/recovery.ts";
import type { LostSockets } from "./berths/repairs/lost-sockets.ts";
import type { Repairs } from "./berths/repairs/repairs.ts";
import type { Shutdowns } from "./berths/repairs/shutdowns.ts";
import type { Interceptions } from "./bind/interceptions.ts";
import type { BrokerOptions } from "./broker-options.ts";
import type { BrokerCounts } from "./counts/broker-counts.ts";
import type { OnDemand } from "./demand/on-demand.ts";
import type { Stops } from "./demand/stops.ts";
import type { Drains } from "./drain/drains.ts";
import type { Guard } from "./guard/guard.ts";
import type { NotifySockets } from "./notify/notify-sockets.ts";
import type { Ledger } from "./restart/ledger.ts";
import type { Locks } from "./restart/locks.ts";
import type { StoreMirror } from "./restart/store-mirror.ts";
import type { TakeoverServer } from "./restart/takeover-server.ts";
import type { TakeoverSnapshot } from "./restart/takeover-snapshot.ts";
import type { Listener } from "./session/listener.ts";
import type { Session } from "./session/session.ts";
import type { ControlSocket } from "./sockets/control/control-socket.ts";
import type { NamedSocket } from "./sockets/named-socket.ts";

/** The parts that exist before anything is opened. */
export interface Foundation {
  readonly options: BrokerOptions;
  /** Reads the configuration folders. Absent where the berths are given by the program. */
  readonly reader: DraftReader | undefined;
  readonly sys: Native;
  readonly guard: Guard;
  readonly log: Log;
  readonly owners: Owners;
  readonly quota: Quota;
  readonly counts: BrokerCounts;
  readonly events: BerthEvents;
  readonly roots: BerthRoots;
  readonly repairs: Repairs;
  readonly shutdowns: Shutdowns;
  readonly lostSockets: LostSockets;
  readonly berths: Berths;
  /** Absent where no service manager stores descriptors. */
  readonly mirror: StoreMirror | undefined;
  readonly interceptions: Interceptions;
  readonly control: ControlSocket;
  readonly locks: Locks;
}

/** A broker that holds its berths. */
export interface Settled extends Foundation {
  /** Absent if leases cannot be recorded. */
  readonly ledger: Ledger | undefined;
  readonly notify: NotifySockets;
  /** Absent where the socket could not be opened. */
  readonly agent: AgentSocket | undefined;
}

/** Reads the configuration again. */
export interface Reloads {
  /** Whether the last reload was refused. */
  readonly isRefused: boolean;
  /** Throws CONFIG_INVALID. */
  reload(parts: BrokerParts): void;
  /** Reads while others are served. What it returns applies it, and throws as {@link reload}. */
  prepare(parts: BrokerParts): Promise<() => void>;
}

/** A broker that serves. */
export interface BrokerParts extends Settled {
  readonly onDemand: OnDemand;
  readonly stops: Stops;
  readonly drains: Drains;
  readonly recovery: Recovery;
  readonly interfaces: InterfaceFollower;
  readonly reloader: Reloads;
  readonly listener: Listener;
  readonly snapshot: TakeoverSnapshot;
  readonly takeover: TakeoverServer;
}

/** The broker's own sockets. */
export function ownSockets({ control, notify, agent }: Pick<Settled, "control" | "notify" | "agent">): NamedSocket[] {
  return [...control.named, ...notify.named, ...(agent === undefined ? [] : [{ name: "agent", socket: agent.socket }])];
}

/** How a broker ends. */
export interface End {
  /** Another broker has taken over everything. */
  readonly isGiven?: boolean;
  /** The connection of that broker: it stays open for the answer. */
  readonly successor?: Session | undefined;
}

/** Closes all existing parts. What is stored or was handed over stays. Idempotent. */
export function closeParts(parts: Foundation & Partial<BrokerParts>, { isGiven = false, successor }: End = {}): void {
  const { ledger } = parts;
  const { keeper } = parts.guard;
  keeper.retire();
  parts.listener?.close(successor);
  // From here on the store does not change: it is for the next broker.
  parts.mirror?.close();
  parts.snapshot?.close();
  parts.control.close();
  parts.notify?.close();
  parts.agent?.close();
  parts.onDemand?.close();
  parts.drains?.close();
  parts.stops?.close();
  parts.recovery?.close();
  parts.interfaces?.close();
  parts.interceptions.close(isGiven);
  parts.shutdowns.close();
  parts.lostSockets.close();
  parts.repairs.close();
  parts.berths.close((berth) => ledger?.has(berth) === true);
  ledger?.close();
  parts.roots.close();
  // A broker that starts now finds the addresses free; a successor has them.
  keeper.close({ waits: !isGiven });
  parts.locks.close();
  parts.guard[Symbol.dispose]();
}
