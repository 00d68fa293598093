/**
 * The history in a file, by SQLite compiled to WebAssembly: it needs no compiler, and no download for each Node. One
 * process has the file. A write-ahead log makes it survive SIGKILL at any moment.
 */
import { rmdirSync } from "node:fs";
import { createRequire } from "node:module";
import { Fault } from "../fault.ts";
import { lockOf, type OwnedFile } from "./owned-file.ts";
import type { Sql, SqlRow, SqlValue, Statement } from "./sql.ts";

/** What is used of node-sqlite3-wasm: it is CommonJS, and its own types do not say so. */
interface Database {
  exec(sql: string): void;
  run(sql: string, values: SqlValue[]): unknown;
  all(sql: string, values: SqlValue[]): Record<string, unknown>[];
  close(): void;
  readonly inTransaction: boolean;
}

/** Bytes of a page of the file. */
const PAGE = 4096;
/** The largest that the file becomes. 500 busy berths need about half of it. */
export const MAX_BYTES: number = 256 * 1024 * 1024;

export class SqliteFile implements Sql {
  readonly #db: Database;
  readonly #owned: OwnedFile;

  private constructor(db: Database, owned: OwnedFile) {
    this.#db = db;
    this.#owned = owned;
  }

  /** Throws HISTORY_FAILED when the file cannot be used, or another process has it. */
  static async open(path: string, maxBytes: number = MAX_BYTES, tries?: number): Promise<SqliteFile> {
    const owned = await lockOf(path, tries);
    try {
      // The library locks a file by this folder, which a killed process leaves. Nobody else has the file: see above.
      removeFolder(`${path}.lock`);
      const db = openDatabase(path);
      db.exec("PRAGMA locking_mode = exclusive");
      db.exec("PRAGMA journal_mode = wal");
      db.exec("PRAGMA synchronous = normal");
      db.exec(`PRAGMA journal_size_limit = ${4 * 1024 * 1024}`);
      db.exec(`PRAGMA max_page_count = ${Math.floor(maxBytes / PAGE)}`);
      db.exec("PRAGMA cache_size = -4096");
      return new SqliteFile(db, owned);
    } catch (error) {
      await owned.release();
      throw new Fault("HISTORY_FAILED", `the history ${path} cannot be used: ${messageOf(error)}`);
    }
  }

  async all(sql: string, values: readonly SqlValue[] = []): Promise<SqlRow[]> {
    return this.#db.all(sql, [...values]).map(plainRow);
  }

  async run(statements: readonly Statement[]): Promise<void> {
    this.#db.exec("BEGIN");
    try {
      for (const { sql, values } of statements) this.#db.run(sql, [...values]);
      this.#db.exec("COMMIT");
    } catch (error) {
      // A full disk ends some transactions by itself.
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#db.close();
    await this.#owned.release();
  }
}

function openDatabase(path: string): Database {
  const library: { readonly Database: new (path: string) => Database } = createRequire(import.meta.url)(
    "node-sqlite3-wasm",
  );
  return new library.Database(path);
}

function plainRow(row: Record<string, unknown>): SqlRow {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, typeof value === "string" ? value : plainNumber(value)]),
  );
}

function plainNumber(value: unknown): number | null {
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : null;
}

function removeFolder(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
