/** Berths and hosts as people and programs see them: what `ls` and `watch` print. */
import type { BerthReport } from "../model/berth-report.ts";
import type { HostRecord } from "../model/host.ts";
import type { Allocation, Placement } from "../model/placement.ts";
import { isOfServer } from "./allocation/candidates.ts";

export interface BerthRow extends Placement {
  /** What players connect to; empty while its host is silent. */
  readonly addresses: readonly string[];
  /** As `berth ls` calls it; null: its host has not said. */
  readonly state: string | null;
  readonly why: string | null;
  readonly players: number | null;
  /** How many can play. */
  readonly max: number | null;
  readonly allocated: boolean;
}

export interface HostRow {
  readonly name: string;
  readonly present: boolean;
  /** Closed to new berths. */
  readonly cordoned: boolean;
  readonly addresses: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Reports and allocations of other generations do not count. */
export function berthRow(
  placed: Placement,
  host: HostRecord | undefined,
  report: BerthReport | undefined,
  allocation: Allocation | undefined,
): BerthRow {
  const now = report?.generation === placed.generation ? report : undefined;
  const { state = null, why = null, players = null, max = null } = now ?? {};
  const allocated = now !== undefined && allocation !== undefined && isOfServer(allocation, now);
  return { ...placed, addresses: host?.addresses ?? [], state, why, players, max, allocated };
}

export function hostRow(name: string, host: HostRecord | undefined, cordoned: boolean): HostRow {
  return { name, present: host !== undefined, cordoned, addresses: host?.addresses ?? [], labels: host?.labels ?? {} };
}

/** One word for a table. */
export function stateWord({ allocated, state }: BerthRow): string {
  return allocated && state === "occupied" ? "allocated" : (state ?? "unknown");
}
