/** What the history forgets: each hour what is too old or too much, and more when its file is full. */
import { KEEP_EVENTS, KEEP_HOURS, KEEP_SAMPLES, MAX_EVENTS_PER_BERTH } from "./schema.ts";
import { numberOf, type Sql, type Statement } from "./sql.ts";

const HOUR = 3600;

/** Each hour between that has no summary yet, and then the samples that are too old. Times in seconds. */
export function summaries(from: number, to: number, now: number): Statement[] {
  const sql = `INSERT INTO hourly
    SELECT berth, at / ${HOUR} * ${HOUR} AS hour, count(*), count(players),
      avg(CAST(players AS double precision)), max(players), avg(cpu), max(cpu),
      avg(CAST(memory AS double precision)), max(memory), max(queue), sum(drops)
    FROM sample WHERE at >= ? AND at < ? GROUP BY berth, hour
    ON CONFLICT (berth, at) DO NOTHING`;
  return [
    { sql, values: [Math.ceil(from / HOUR) * HOUR, to] },
    { sql: "DELETE FROM sample WHERE at < ?", values: [now - KEEP_SAMPLES] },
  ];
}

/** The hours and events that are too old or too many. `now` in seconds. */
export async function removals(sql: Sql, now: number): Promise<Statement[]> {
  return [
    { sql: "DELETE FROM hourly WHERE at < ?", values: [now - KEEP_HOURS] },
    { sql: "DELETE FROM event WHERE at < ?", values: [(now - KEEP_EVENTS) * 1000] },
    ...(await removalOfCrowds(sql)),
  ];
}

/** When the largest size is reached: berths with too many events give first, then whatever there is most of. */
export async function removalsWhenFull(sql: Sql): Promise<Statement[]> {
  const crowds = await removalOfCrowds(sql);
  return crowds.length > 0 ? crowds : removalOfOldest(sql);
}

/** The oldest events of each berth that has too many. The end of each is looked up once: there may be very many. */
async function removalOfCrowds(sql: Sql): Promise<Statement[]> {
  const crowded = await sql.all(
    `SELECT berth FROM event GROUP BY berth HAVING count(*) > ${MAX_EVENTS_PER_BERTH} ORDER BY berth`,
  );
  const statements: Statement[] = [];
  for (const { berth = null } of crowded) {
    const [newest] = await sql.all(
      `SELECT at FROM event WHERE berth = ? ORDER BY at DESC LIMIT 1 OFFSET ${MAX_EVENTS_PER_BERTH}`,
      [berth],
    );
    const at = numberOf(newest?.["at"]);
    if (at !== null) statements.push({ sql: "DELETE FROM event WHERE berth = ? AND at <= ?", values: [berth, at] });
  }
  return statements;
}

/** The oldest tenth of the table with the most rows: more berths than the largest size was made for. */
async function removalOfOldest(sql: Sql): Promise<Statement[]> {
  const [counts] = await sql.all(
    `SELECT (SELECT count(*) FROM sample) AS sample, (SELECT count(*) FROM hourly) AS hourly,
      (SELECT count(*) FROM event) AS event`,
  );
  const [most] = (["sample", "hourly", "event"] as const)
    .map((table) => ({ table, count: numberOf(counts?.[table]) ?? 0 }))
    .sort((a, b) => b.count - a.count);
  if (most === undefined) return [];
  const oldest = `SELECT at FROM ${most.table} ORDER BY at LIMIT 1 OFFSET ?`;
  return [{ sql: `DELETE FROM ${most.table} WHERE at <= (${oldest})`, values: [Math.floor(most.count / 10)] }];
}
