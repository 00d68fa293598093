/** Waits until a drained server has ended, also when another broker replaces this one meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "../../errors.ts";
import { isBrokerGone } from "../ask.ts";
import { type BerthRecord, findBerth } from "../berth-records.ts";
import type { BrokerChoice } from "../options.ts";

const LOOK_MS = 300;
/** How often the broker may be absent in a row: half a minute. */
const ABSENCES = 100;

/**
 * Resolves once the lease has ended. Throws ABORTED when the drain was cancelled, and at `signal`; BROKER_UNREACHABLE
 * when there is no broker for long.
 */
export async function awaitEnd(berth: string, lease: string, choice: BrokerChoice, signal: AbortSignal): Promise<void> {
  for (let absences = 0; !signal.aborted; await sleep(LOOK_MS)) {
    let record: BerthRecord;
    try {
      record = await findBerth(berth, choice);
      absences = 0;
    } catch (error) {
      if (!isBrokerGone(error) || ++absences > ABSENCES) throw error;
      continue;
    }
    if (record.lease?.id !== lease) return;
    if (!record.drain) {
      const message = `the drain of berth ${berth} was cancelled, or its server could not be stopped; its old server goes on`;
      throw new BerthError("ABORTED", message);
    }
  }
  throw new BerthError("ABORTED", "interrupted");
}
