/**
 * TimescaleDB's hypertables, where a database has that extension: a table in pieces by time, so that what is too old
 * goes without a search. The tables hold the same without it.
 */
import { type Sql, type Statement, textOf } from "./sql.ts";

/** Seconds of a piece of each table: a part of how long it is kept. */
const PIECES = { sample: 6 * 3600, hourly: 7 * 24 * 3600 } as const;

/** Statements that make them; none where there is no extension. They change nothing in tables that are made already. */
export async function hypertables(sql: Sql): Promise<Statement[]> {
  const [extension] = await sql.all(
    `SELECT n.nspname AS place FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
     WHERE e.extname = 'timescaledb'`,
  );
  if (extension === undefined) return [];
  const place = `"${textOf(extension["place"]).replaceAll('"', '""')}"`;
  return Object.entries(PIECES).map(([table, seconds]) => ({
    sql: `SELECT ${place}.create_hypertable(CAST(? AS regclass), CAST('at' AS name),
      chunk_time_interval => CAST(${seconds} AS bigint), create_default_indexes => false, if_not_exists => true,
      migrate_data => true)`,
    values: [table],
  }));
}
