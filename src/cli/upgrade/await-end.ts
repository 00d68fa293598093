/** Waits until a drained server has ended, also when another broker replaces this one meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import { DRAIN_IS_OVER } from "../../berth-state.ts";
import { BerthError } from "../../errors.ts";
import { acrossRestarts } from "../across-restarts.ts";
import { findBerth } from "../berths/berth-records.ts";
import type { BrokerChoice } from "../options.ts";

const LOOK_MS = 300;

/**
 * Resolves once the lease has ended. Throws ABORTED when the drain was cancelled, and at `signal`; BROKER_UNREACHABLE
 * when there is no broker for long.
 */
export async function awaitEnd(berth: string, lease: string, choice: BrokerChoice, signal: AbortSignal): Promise<void> {
  for (; !signal.aborted; await sleep(LOOK_MS)) {
    const record = await acrossRestarts(() => findBerth(berth, choice), signal);
    if (record.lease?.id !== lease) return;
    if (!record.drain) throw new BerthError("ABORTED", `berth ${berth}: ${DRAIN_IS_OVER}`);
  }
  throw new BerthError("ABORTED", "interrupted");
}
