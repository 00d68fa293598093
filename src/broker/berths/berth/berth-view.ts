/** What clients see of a berth: the types of replies. The broker's own objects make them. Types only. */
import type { RootState, SdkProtocol } from "../../../config/keys/spec.ts";
import type { Problem } from "../../../config/toml/problem.ts";
import type { SocketKind } from "../../../net/transport.ts";
import type { Range } from "../../../rootfs/ranges/range.ts";
import type { Strategy } from "../../../rootfs/roots/root.ts";
import type { BrokerMethods } from "../../../varlink/interfaces/io.berthd.Broker.types.ts";

/** What a Watch reports. */
export type BerthEvent = BrokerMethods["Watch"]["reply"]["event"];

export type BerthState = "vacant" | "occupied" | "handover";

/** A descriptor as in replies. `index` is present only in a message that carries it. */
export interface DescriptorView {
  readonly name: string;
  readonly kind: SocketKind | "root" | "stash";
  readonly address?: string;
  readonly index?: number;
}

export interface LeaseView {
  readonly id: string;
  readonly pid: number;
  readonly uid: number;
  readonly unit?: string;
  /** When it was granted, in microseconds since 1970. */
  readonly since?: number;
}

/** The state of a server that starts on demand. */
export interface StartView {
  readonly state: "waiting" | "queued" | "starting" | "running" | "failed";
  /** How many starts in a row have failed. */
  readonly failures: number;
  /** Why the last one failed, and the server's exit status or signal. */
  readonly reason?: string;
  readonly status?: number;
  readonly signal?: string;
  /** Time of the next try, in microseconds since 1970. */
  readonly next?: number;
}

/** A berth's root. The strategy is known while a root exists. */
export interface RootView {
  readonly images: readonly string[];
  readonly state: RootState | "readonly";
  readonly strategy?: Strategy;
  /** The images that the next tenant gets, if they are others. */
  readonly newer?: readonly string[];
}

/** What woke the server of a berth last: as the type Wake of the interface. */
export interface WakeView {
  readonly at: number;
  readonly cause: "datagram" | "connection";
  readonly socket?: string;
}

/** What a vacant berth waits for: as the type Wait of the interface. */
export interface WaitView {
  readonly for: "repair" | "lock" | "guard";
  readonly pid?: number;
  readonly message: string;
}

/** How to ask a berth's server who plays: as the type Query of the interface. */
export interface QueryView {
  readonly type: string;
  readonly host?: string;
  readonly port?: number;
}

/** Who plays, as an observer has reported it: as the type Players of the interface. */
export interface PlayersView {
  readonly count: number;
  readonly max?: number;
  readonly name?: string;
  readonly map?: string;
  /** Microseconds since 1970. */
  readonly at: number;
}

/** What becomes of new joins during a drain, and of which ones it is something else than it should be. */
export interface JoinsView {
  readonly joins: "queue" | "refuse" | "serve";
  readonly note?: string;
}

/** Its server is to end: as the type Draining of the interface. */
export interface DrainView extends Partial<JoinsView> {
  readonly began: number;
  readonly deadline?: number;
}

/** The SDK that a berth's server calls: as the type Sdk of the interface. */
export interface SdkView {
  readonly protocol: SdkProtocol;
  readonly grpc: number;
  readonly http: number;
  readonly uid?: number;
  readonly watchdog?: number;
}

/** A berth as List and Watch show it. */
export interface BerthView {
  readonly name: string;
  readonly state: BerthState;
  readonly descriptors: readonly DescriptorView[];
  readonly range?: Range;
  readonly root?: RootView;
  readonly lease?: LeaseView;
  readonly ready?: boolean;
  /** The tenant's own status text. */
  readonly status?: string;
  /** The configuration has changed since the tenant took it. */
  readonly outdated?: true;
  /** Addresses of an older configuration that the tenant still has. */
  readonly older?: readonly string[];
  readonly start?: StartView;
  /** How many of its descriptors are in the service manager's store. */
  readonly kept?: number;
  /** Why nobody can take it. */
  readonly problems?: readonly Problem[];
  readonly wait?: WaitView;
  /** When it got into its state, in microseconds since 1970. */
  readonly since?: number;
  /** How often its server was started again. */
  readonly restarts?: number;
  readonly wake?: WakeView;
  readonly query?: QueryView;
  readonly players?: PlayersView;
  readonly drain?: DrainView;
  readonly sdk?: SdkView;
}
