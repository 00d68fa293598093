/** Requests to the berths, and their outcomes. Only types. */

import type { Problem } from "../../config/toml/problem.ts";
import type { Peer } from "../access/peer.ts";
import type { Berth } from "./berth/berth.ts";
import type { LeaseView } from "./berth/berth-view.ts";
import type { Lease } from "./berth/lease.ts";
import type { NotKept } from "./reports/reports.ts";

/** Somebody who acts on a lease. */
export interface Speaker {
  /** Root or the broker's own user. */
  readonly privileged: boolean;
  /** Whether it is the process that holds this lease. */
  holds(lease: Lease): boolean;
}

/** A client that asks for a berth. */
export interface Requester extends Speaker {
  /** Whose credentials decide. */
  readonly peer: Peer;
  /** Who gets the lease, if that is not the peer. */
  readonly tenant?: Applicant;
}

/** A process that is to get a lease. */
export type Applicant = Pick<Peer, "pid" | "uid" | "unit" | "network" | "pidfd"> & Partial<Pick<Peer, "controlGroups">>;

/** Whether to take over from the present tenant: never, if there is one, or there must be one. */
export type Replace = "no" | "try" | "must";

export interface Granted {
  readonly kind: "granted";
  readonly berth: Berth;
  readonly lease: Lease;
}

/** Why a request was refused. */
export type Refusal =
  | { readonly kind: "absent"; readonly berth: string }
  | { readonly kind: "denied"; readonly berth: string }
  | { readonly kind: "occupied"; readonly berth: string; readonly lease: LeaseView }
  | { readonly kind: "vacant"; readonly berth: string }
  | { readonly kind: "problem"; readonly berth: string; readonly problems: readonly Problem[] }
  | { readonly kind: "no-lease"; readonly lease: string }
  | { readonly kind: "limit"; readonly limit: string; readonly message: string }
  | { readonly kind: "unsuitable"; readonly name: string; readonly message: string }
  | { readonly kind: "no-root"; readonly berth: string; readonly message: string };

/** Why a server was not stopped. */
export type StopRefusal =
  | Refusal
  | { readonly kind: "not-yours"; readonly berth: string; readonly lease: LeaseView }
  | { readonly kind: "drained-by"; readonly berth: string; readonly uid: number }
  | { readonly kind: "stopping"; readonly berth: string; readonly lease: LeaseView }
  | { readonly kind: "not-stopped"; readonly berth: string; readonly lease?: LeaseView; readonly message: string };

/** Why a report was not taken. */
export type ReportRefusal = Refusal | NotKept | { readonly kind: "not-observer"; readonly berth: string };

/** Why nothing was said for a server. */
export type SpeakRefusal = Refusal | { readonly kind: "not-speaker"; readonly berth: string };

/** Ask again once `until` has resolved. If it resolves to a text, asking again is pointless, and the text says why. */
export interface Waiting {
  readonly kind: "waiting";
  readonly berth: string;
  readonly until: Promise<string | undefined>;
}
