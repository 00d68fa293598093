/** What a host says of one berth, until it says what somebody waits for. */
import type { Etcd } from "../../etcd/etcd.ts";
import { follow } from "../../etcd/follow.ts";
import type { Entry } from "../../etcd/messages.ts";
import { type BerthReport, berthReport } from "../../model/berth-report.ts";
import type { Keys } from "../../model/keys.ts";
import type { Placement } from "../../model/placement.ts";
import { type Kept, readable } from "../view.ts";

export interface ReportWait {
  /** What ends the wait. `report` is of the berth's generation; undefined: the host says nothing of it. */
  readonly until: (report: Kept<BerthReport> | undefined) => boolean | Promise<boolean>;
  readonly signal: AbortSignal;
}

/** Waits until `until` says so, or for the signal. */
export async function watchReports(
  etcd: Etcd,
  keys: Keys,
  { berth, host, generation }: Placement,
  { until, signal }: ReportWait,
): Promise<void> {
  const done = new AbortController();
  const key = keys.of({ kind: "state", host, berth });
  const reportOf = (entry: Entry | undefined): Kept<BerthReport> | undefined => {
    const record = entry && readable(entry.key, entry.value, berthReport, () => undefined);
    if (entry === undefined || record?.generation !== generation) return undefined;
    return { record, revision: entry.revision };
  };
  for await (const one of follow(etcd, { key }, AbortSignal.any([signal, done.signal]))) {
    if (done.signal.aborted || one.kind === "lost" || one.kind === "back") continue;
    const entries: (Entry | undefined)[] =
      one.kind === "all"
        ? [one.entries[0]]
        : one.events.map((event) => (event.kind === "put" ? event.entry : undefined));
    for (const entry of entries) if (!done.signal.aborted && (await until(reportOf(entry)))) done.abort();
  }
}
