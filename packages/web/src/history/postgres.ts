/**
 * The history in PostgreSQL, for several hosts in one database. The statements are those for SQLite, with `$1` for the
 * first `?`. A connection that breaks is made again by the next statement.
 */
import type { Pool } from "pg";
import { Fault } from "../fault.ts";
import { hypertables } from "./hypertables.ts";
import type { Sql, SqlRow, SqlValue, Statement } from "./sql.ts";

/** How long a connection and a statement may take. */
const PATIENCE_MS = 10_000;

export function isPostgres(place: string): boolean {
  return /^postgres(ql)?:\/\//.test(place);
}

export class PostgresDatabase implements Sql {
  readonly #pool: Pool;

  private constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Throws HISTORY_FAILED when the database cannot be reached. The message has no password. */
  static async open(address: string): Promise<PostgresDatabase> {
    const { Pool } = await import("pg");
    const pool = new Pool({
      connectionString: address,
      max: 4,
      connectionTimeoutMillis: PATIENCE_MS,
      query_timeout: PATIENCE_MS,
      application_name: "berth-web",
    });
    // Of connections that nobody uses: the next statement gets another one.
    pool.on("error", () => undefined);
    try {
      await pool.query("SELECT 1");
      return new PostgresDatabase(pool);
    } catch (error) {
      await pool.end();
      const where = address.replace(/\/\/[^@/]*@/, "//");
      throw new Fault("HISTORY_FAILED", `the history ${where} cannot be used: ${messageOf(error)}`);
    }
  }

  async all(sql: string, values: readonly SqlValue[] = []): Promise<SqlRow[]> {
    const { rows } = await this.#pool.query(numbered(sql), values);
    return rows.map(plainRow);
  }

  async run(statements: readonly Statement[]): Promise<void> {
    const client = await this.#pool.connect();
    try {
      await client.query("BEGIN");
      for (const { sql, values } of statements) await client.query(numbered(sql), values);
      await client.query("COMMIT");
    } catch (error) {
      // Closing it rolls back, also where the connection is broken.
      client.release(true);
      throw error;
    }
    client.release();
  }

  extras(): Promise<Statement[]> {
    return hypertables(this);
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }
}

/** No statement of ours has a question mark in a text. */
export function numbered(sql: string): string {
  let count = 0;
  return sql.replaceAll("?", () => `$${++count}`);
}

/** Large integers and exact numbers come as text. */
function plainRow(row: Record<string, unknown>): SqlRow {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === "string" || typeof value === "number" ? value : null,
    ]),
  );
}

function messageOf(error: unknown): string {
  // Of several addresses that were tried.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(", ");
  return error instanceof Error ? error.message : String(error);
}
