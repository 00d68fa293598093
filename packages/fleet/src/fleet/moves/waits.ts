/** What a move waits for: that the server has ended on one host, and that it runs on the other. */
import type { Etcd } from "../../etcd/etcd.ts";
import { Fault } from "../../fault.ts";
import type { Keys } from "../../model/keys.ts";
import type { Placement } from "../../model/placement.ts";
import { watchReports } from "./reports.ts";

interface WaitOptions {
  readonly within: number | undefined;
  readonly signal: AbortSignal;
  readonly say: (sentence: string) => void;
}

interface StartOptions {
  /** Its server starts with its first players. */
  readonly isOnDemand: boolean;
  readonly startMs?: number | undefined;
  readonly signal: AbortSignal;
}

const START_MS = 120_000;
/** What a host may take beside the time for the players: to stop the server, and to say so. */
const STOP_MS = 300_000;

/** Resolves when the server has ended, with the revision of the report that says so. */
export async function untilHeld(
  etcd: Etcd,
  keys: Keys,
  placed: Placement,
  lost: AbortSignal,
  options: WaitOptions,
): Promise<number> {
  const { berth, host } = placed;
  const { signal, within, say } = options;
  const late = within === undefined ? [] : [AbortSignal.timeout(within * 1000 + STOP_MS)];
  let revision: number | undefined;
  let said = "";
  await watchReports(etcd, keys, placed, {
    signal: AbortSignal.any([signal, lost, ...late]),
    until: async (report) => {
      if (report?.record.state === "held") {
        revision = report.revision;
        return true;
      }
      if (report === undefined) {
        const { lists } = await etcd.read({ key: keys.of({ kind: "assignment", host, berth }) });
        return lists[0].length === 0;
      }
      const { state, players } = report.record;
      const sentence = `${berth}: ${state} on ${host}${players === undefined ? "" : `; ${players} play`}`;
      if (state === "draining" && sentence !== said) say(sentence);
      said = sentence;
      return false;
    },
  });
  if (revision !== undefined) return revision;
  if (signal.aborted) throw new Fault("NOT_MOVED", `${berth} stays on ${host}: the move was ended`);
  if (lost.aborted) throw new Fault("NOT_MOVED", `${berth} stays on ${host}: etcd did not answer for too long`);
  if (late.some(({ aborted }) => aborted))
    throw new Fault(
      "NOT_MOVED",
      `${berth} stays on ${host}: its server has not ended in time; see there: berth show ${berth}`,
    );
  throw new Fault("NOT_MOVED", `${berth} was removed from ${host} meanwhile`);
}

/** Why the berth has no server on its new host; undefined: it has, or waits for players to start it. */
export async function failureOn(
  etcd: Etcd,
  keys: Keys,
  placed: Placement,
  { isOnDemand, signal, startMs = START_MS }: StartOptions,
): Promise<string | undefined> {
  const { host } = placed;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), startMs);
  let failed: string | undefined = `${host} did not start it in time`;
  await watchReports(etcd, keys, placed, {
    signal: AbortSignal.any([signal, late.signal]),
    until: async (report) => {
      if (report === undefined) {
        const { lists } = await etcd.read({ key: keys.of({ kind: "host", host }) });
        if (lists[0].length > 0) return false;
        failed = `${host} is silent`;
        return true;
      }
      const { state, why } = report.record;
      // The server starts after that. Each report says that more of the image is there.
      if (state === "fetching") timer.refresh();
      if (SERVES.has(state) || (isOnDemand && state === "vacant" && why === undefined)) failed = undefined;
      else if (FAILS.has(state) || (state === "vacant" && why !== undefined)) failed = why ?? `it is ${state}`;
      else return false;
      return true;
    },
  }).finally(() => clearTimeout(timer));
  return failed;
}

const SERVES: ReadonlySet<string> = new Set(["occupied", "outdated", "draining", "handover"]);
const FAILS: ReadonlySet<string> = new Set(["refused", "problem", "failed"]);
