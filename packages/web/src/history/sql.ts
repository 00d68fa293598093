/** What a database of the history must be able to do. Statements are plain SQL with `?`, the same for each. */
export type SqlValue = number | string | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

export interface Statement {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

export interface Sql {
  all(sql: string, values?: readonly SqlValue[]): Promise<SqlRow[]>;
  /** All of them in one transaction, or none. */
  run(statements: readonly Statement[]): Promise<void>;
  /** What only this database can do with the tables, once they are there. They work without it. */
  extras?(): Promise<Statement[]>;
  close(): Promise<void>;
}

/** A number of a row. Databases write sums of integers as text when these could be too large. */
export function numberOf(value: SqlValue | undefined): number | null {
  if (value === null || value === undefined) return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}

export function textOf(value: SqlValue | undefined): string {
  return typeof value === "string" ? value : "";
}

/** Rows for one INSERT: as many as one statement can have values. */
export function insertRows(
  into: string,
  columns: readonly string[],
  rows: readonly (readonly SqlValue[])[],
  then = "",
): Statement[] {
  const most = Math.floor(6_000 / columns.length);
  const marks = `(${columns.map(() => "?").join(", ")})`;
  const statements: Statement[] = [];
  for (let at = 0; at < rows.length; at += most) {
    const part = rows.slice(at, at + most);
    const sql = `INSERT INTO ${into} (${columns.join(", ")}) VALUES ${part.map(() => marks).join(", ")} ${then}`;
    statements.push({ sql, values: part.flat() });
  }
  return statements;
}
