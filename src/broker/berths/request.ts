/** What is asked of the berths: by whom, and how it can turn out. Types alone. */

import type { Peer } from "../access/peer.ts";
import type { Berth, LeaseView } from "./berth.ts";
import type { Lease } from "./lease.ts";

/** Who speaks for a lease. */
export interface Speaker {
  /** Root or the broker's own user. */
  readonly privileged: boolean;
  /** Whether it is the very process that holds this lease. */
  holds(lease: Lease): boolean;
}

/** Who asks. */
export interface Requester extends Speaker {
  readonly peer: Peer;
}

/** Whether a present tenant may be taken over from: no, if there is one, or there must be one. */
export type Replace = "no" | "try" | "must";

export interface Granted {
  readonly kind: "granted";
  readonly berth: Berth;
  readonly lease: Lease;
}

/** Why a request was not granted. */
export type Refusal =
  | { readonly kind: "absent"; readonly berth: string }
  | { readonly kind: "denied"; readonly berth: string }
  | { readonly kind: "occupied"; readonly berth: string; readonly lease: LeaseView }
  | { readonly kind: "vacant"; readonly berth: string }
  | { readonly kind: "no-lease"; readonly lease: string }
  | { readonly kind: "limit"; readonly limit: string; readonly message: string }
  | { readonly kind: "unsuitable"; readonly name: string; readonly message: string }
  | { readonly kind: "no-root"; readonly berth: string; readonly message: string };

/** Not now: to be asked again when this has resolved, unless it resolved with why that would be in vain. */
export interface Waiting {
  readonly kind: "waiting";
  readonly berth: string;
  readonly until: Promise<string | undefined>;
}
