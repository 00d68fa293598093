/** The plots of one berth: measurements in steps of equal length. */
import type { Plot, Series, Span, Timeline, TimelineEvent, TimelineKind } from "../api/history-shapes.ts";
import type { BerthId } from "./event-limit.ts";
import type { History } from "./history.ts";
import type { HourOfPlayers } from "./quiet.ts";
import { numberOf, type SqlRow, textOf } from "./sql.ts";

/** Seconds of a step, and how many there are. */
export const RANGES = { "24h": { step: 600, count: 144 }, "30d": { step: 4 * 3600, count: 180 } } as const;

export interface Scales {
  readonly slots: number | null;
  readonly memoryLimit: number | null;
  /** The receive buffer of its fullest socket, in bytes. */
  readonly queueLimit: number | null;
}

/** Of 24 hours from samples, of 30 days from the hours. `now` in milliseconds. */
export async function seriesOf(
  history: History,
  berth: BerthId,
  range: Series["range"],
  now: number,
  { slots, memoryLimit, queueLimit }: Scales,
): Promise<Series> {
  const { step, count } = RANGES[range];
  const first = (Math.floor(now / 1000 / step) - count + 1) * step;
  const id = history.idOf(berth) ?? -1;
  const steps = await readSteps(history, id, range, first, step, count);
  const crashes = await history.sql.all(
    "SELECT at FROM event WHERE berth = ? AND kind = 'crash' AND at >= ? ORDER BY at LIMIT 500",
    [id, first * 1000],
  );
  const plot = (name: string, limit: number | null): Plot => ({
    mean: steps.map((row) => rounded(numberOf(row?.[name]))),
    high: steps.map((row) => rounded(numberOf(row?.[`${name}_high`]))),
    limit,
  });
  const queue = steps.map((row) => numberOf(row?.["queue_high"]));
  const timeOf = (index: number): number => (first + index * step) * 1000;
  return {
    range,
    start: timeOf(0) + (step * 1000) / 2,
    step: step * 1000,
    players: plot("players", slots),
    queue: { mean: queue, high: queue, limit: queueLimit },
    drops: steps.map((row) => numberOf(row?.["drops"])),
    cpu: plot("cpu", null),
    memory: plot("memory", memoryLimit),
    idle: spans(
      steps.map((row) => row === undefined),
      timeOf,
    ),
    lost: spans(
      steps.map((row) => (numberOf(row?.["drops"]) ?? 0) > 0),
      timeOf,
    ),
    crashes: crashes.map((row) => numberOf(row["at"]) ?? 0),
  };
}

async function readSteps(
  { sql }: History,
  id: number,
  range: Series["range"],
  first: number,
  step: number,
  count: number,
): Promise<readonly (SqlRow | undefined)[]> {
  const mean = (column: string): string => `avg(CAST(${column} AS double precision)) AS ${column}`;
  const columns =
    range === "24h"
      ? `${mean("players")}, max(players) AS players_high, ${mean("cpu")}, max(cpu) AS cpu_high,
         ${mean("memory")}, max(memory) AS memory_high, max(queue) AS queue_high,
         sum(drops) AS drops FROM sample`
      : `${mean("players")}, max(players_high) AS players_high, ${mean("cpu")}, max(cpu_high) AS cpu_high,
         ${mean("memory")}, max(memory_high) AS memory_high, max(queue_high) AS queue_high,
         sum(drops) AS drops FROM hourly`;
  const rows = await sql.all(
    `SELECT (at - ?) / ${step} AS step, ${columns} WHERE berth = ? AND at >= ? GROUP BY 1 ORDER BY 1`,
    [first, id, first],
  );
  const steps = new Array<SqlRow | undefined>(count).fill(undefined);
  for (const row of rows) {
    const index = numberOf(row["step"]);
    if (index !== null && index >= 0 && index < count) steps[index] = row;
  }
  return steps;
}

/** Neighbours for which it is true become one span. */
export function spans(flags: readonly boolean[], timeOf: (index: number) => number): Span[] {
  const found: Span[] = [];
  let from: number | undefined;
  for (let at = 0; at <= flags.length; at++) {
    if (flags[at] === true) from ??= at;
    else if (from !== undefined) {
      found.push({ from: timeOf(from), to: timeOf(at) });
      from = undefined;
    }
  }
  return found;
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1000) / 1000;
}

/** What happened before a time in milliseconds, the newest first. */
export async function timelineOf(
  history: History,
  berth: BerthId,
  before: number | undefined,
  limit: number,
): Promise<Timeline> {
  const rows = await history.sql.all(
    "SELECT at, kind, text, detail FROM event WHERE berth = ? AND at < ? ORDER BY at DESC LIMIT ?",
    [history.idOf(berth) ?? -1, before ?? Number.MAX_SAFE_INTEGER, limit + 1],
  );
  return { events: rows.slice(0, limit).map(eventOf), more: rows.length > limit };
}

function eventOf(row: SqlRow): TimelineEvent {
  const detail = row["detail"];
  return {
    at: numberOf(row["at"]) ?? 0,
    kind: kindOf(textOf(row["kind"])),
    text: textOf(row["text"]),
    detail: typeof detail === "string" ? detail : null,
  };
}

export const timelineKinds = {
  lease: true,
  ready: true,
  takeover: true,
  handover: true,
  released: true,
  stopping: true,
  crash: true,
  failed: true,
  wake: true,
  drain: true,
  repaired: true,
  changed: true,
  added: true,
  removed: true,
  unwatched: true,
} as const satisfies Readonly<Record<TimelineKind, true>>;

/** A newer version may have written others. */
function kindOf(text: string): TimelineKind {
  return isKind(text) ? text : "changed";
}

function isKind(text: string): text is TimelineKind {
  return Object.hasOwn(timelineKinds, text);
}

/** The mean of players in each half hour of the last day that is over, by its beginning in milliseconds. */
export async function readSparks(
  history: History,
  berth: BerthId,
  now: number,
): Promise<{ readonly at: number; readonly mean: number }[]> {
  const rows = await history.sql.all(
    `SELECT at / 1800 AS slot, avg(CAST(players AS double precision)) AS mean FROM sample
     WHERE berth = ? AND at >= ? AND at < ? AND players IS NOT NULL GROUP BY 1`,
    [history.idOf(berth) ?? -1, Math.floor(now / 1000) - 24 * 3600, Math.floor(now / 1_800_000) * 1800],
  );
  return rows.map((row) => ({ at: (numberOf(row["slot"]) ?? 0) * 1_800_000, mean: numberOf(row["mean"]) ?? 0 }));
}

/** The mean of players in each 4 hours of 30 days: 180 numbers, the oldest first. */
export async function monthOf(history: History, berth: BerthId, now: number): Promise<(number | null)[]> {
  const { step, count } = RANGES["30d"];
  const first = (Math.floor(now / 1000 / step) - count + 1) * step;
  const steps = await readSteps(history, history.idOf(berth) ?? -1, "30d", first, step, count);
  return steps.map((row) => rounded(numberOf(row?.["players"])));
}

/** Players by the hour for all weeks that are kept: of one berth, or of all of a host together. */
export async function hoursOf(history: History, host: string, name: string | null): Promise<HourOfPlayers[]> {
  const ids = name === null ? history.idsOf(host) : [history.idOf({ host, name }) ?? -1];
  // PostgreSQL refuses an empty list.
  if (ids.length === 0) return [];
  const marks = ids.map(() => "?").join(", ");
  const rows = await history.sql.all(
    `SELECT at, sum(players) AS mean, sum(players_high) AS high FROM hourly
     WHERE berth IN (${marks}) AND played > 0 GROUP BY at`,
    ids,
  );
  return rows.map((row) => ({
    at: (numberOf(row["at"]) ?? 0) * 1000,
    mean: numberOf(row["mean"]) ?? 0,
    high: numberOf(row["high"]) ?? 0,
  }));
}
