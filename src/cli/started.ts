/** Waits until a berth has the server that was started, or knows why not. It starts nothing. */
import { setTimeout } from "node:timers/promises";
import { BerthError } from "../errors.ts";
import { acrossRestarts } from "./across-restarts.ts";
import { deadlineOf, secondsOf } from "./ask.ts";
import { type BerthRecord, findBerth } from "./berths/berth-records.ts";
import type { BrokerChoice } from "./options.ts";
import { type Services, unitOf } from "./services.ts";

/** How often to look, in milliseconds. */
const LOOK_MS = 100;
/** A server that has its berth this long has started. One with a mistake in its options mostly ends before. */
const SETTLE_MS = 500;

/** What `--json` prints of a server that was started. */
export interface Started {
  readonly pid: number;
  readonly unit: string | null;
  /** Whether it ran before. */
  readonly already: boolean;
}

/**
 * Resolves once a server has had the berth for a moment that is not of process `former`. Throws SYSTEM_ERROR if it has
 * ended, as `endOf` says, and ABORTED at the deadline.
 */
export async function awaitServer(
  berth: string,
  { endOf }: Pick<Services, "endOf">,
  choice: BrokerChoice,
  interrupt: AbortSignal,
  former?: number,
): Promise<Started> {
  const unit = unitOf(berth);
  const late = deadlineOf(choice);
  const end = AbortSignal.any([interrupt, late]);
  for (let [pid, since] = [0, 0]; !interrupt.aborted; await setTimeout(LOOK_MS)) {
    const { lease } = await acrossRestarts(() => findBerth(berth, choice), end);
    const now = performance.now();
    if (lease && lease.pid !== former) {
      if (lease.pid !== pid) [pid, since] = [lease.pid, now];
      if (now - since >= SETTLE_MS) return { pid, unit: lease.unit ?? null, already: false };
    } else {
      const ended = await endOf(unit);
      if (ended !== undefined) {
        const message = `the server of berth ${berth} did not start: ${ended.reason}; see: berth logs ${berth}`;
        throw new BerthError("SYSTEM_ERROR", message);
      }
    }
    if (late.aborted) {
      const message = `the server of berth ${berth} has not taken it within ${secondsOf(choice)} s; see: berth logs ${berth}`;
      throw new BerthError("ABORTED", message);
    }
  }
  throw new BerthError("ABORTED", "interrupted");
}

/** Throws CONFIG_INVALID if nobody can take the berth. */
export function mustBeSound({ name, problems }: BerthRecord): void {
  const [first] = problems ?? [];
  if (first === undefined) return;
  const remedy = first.remedy ? `; ${first.remedy}` : "";
  throw new BerthError(
    "CONFIG_INVALID",
    `berth ${name} has a problem: ${first.file}:${first.line}: ${first.message}${remedy}`,
  );
}
