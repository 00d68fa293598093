/** The history in PostgreSQL: the same as in a file, for several hosts, and through a restart of the database. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { History, type Sample } from "../../packages/web/src/history/history.ts";
import { isPostgres, numbered, PostgresDatabase } from "../../packages/web/src/history/postgres.ts";
import { hoursOf, monthOf, readSparks, seriesOf, timelineOf } from "../../packages/web/src/history/series.ts";
import type { Sql } from "../../packages/web/src/history/sql.ts";
import { needs } from "../support/needs.ts";
import { type Postgres, startPostgres } from "../support/web/postgres.ts";
import { runWeb } from "../support/web/web-process.ts";

const HOUR = 3_600_000;
const scales = { slots: 32, memoryLimit: null, queueLimit: 212_992 };
const sample = (host: string, players: number, drops = 0): Sample => {
  return { host, name: "arena", players, cpu: 0.5, memory: 5_000_000_000, queue: 0, drops };
};

it("statements have their places by number, and addresses are told from files", () => {
  expect(numbered("SELECT ? WHERE a = ? AND b = 1")).toBe("SELECT $1 WHERE a = $2 AND b = 1");
  expect(["postgres://a/b", "postgresql://a", "/postgres://a", "h.db"].map(isPostgres)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

it("a database that is not there ends the start, and no password is in the message", async () => {
  const address = "postgres://web:secret@127.0.0.1:1/history";
  const { code, err } = await runWeb(["--listen", "127.0.0.1:0", "--history", address]);
  expect([code, err]).toEqual([
    111,
    expect.stringMatching(/history postgres:\/\/127\.0\.0\.1:1\/history cannot be used/),
  ]);
  expect(err).not.toContain("secret");
});

describe("in a real PostgreSQL", needs("root", "postgres", "initdb", "setpriv"), () => {
  let postgres: Postgres;
  beforeAll(async () => {
    postgres = await startPostgres();
  }, 60_000);
  afterAll(async () => {
    await postgres?.[Symbol.asyncDispose]();
  });

  const told: string[] = [];
  const open = async (): Promise<History> =>
    History.open(await PostgresDatabase.open(postgres.address), (message) => told.push(message));

  it("two hosts keep their histories in one database, and read them as from a file", { timeout: 60_000 }, async () => {
    const one = await open();
    const two = await open();
    const now = Math.floor(Date.now() / (4 * HOUR)) * 4 * HOUR + HOUR / 2;
    for (let at = now - 5 * HOUR; at < now; at += 5 * 60_000) {
      await one.sampled(at, [sample("fsn-1", at < now - 2 * HOUR ? 4 : 10, at === now - HOUR ? 7 : 0)]);
      await two.sampled(at, [sample("fsn-2", 1)]);
    }
    expect([one.trouble, two.trouble, told.filter((line) => !/duplicate key|written again/.test(line))]).toEqual([
      undefined,
      undefined,
      [],
    ]);
    const arena = { host: "fsn-1", name: "arena" };
    const day = await seriesOf(one, arena, "24h", now, scales);
    expect([day.players.mean.at(-2), day.players.mean.at(-20), day.players.mean[0]]).toEqual([10, 4, null]);
    expect(day.memory.mean.at(-2)).toBe(5_000_000_000);
    expect(day.lost).toEqual([{ from: now - HOUR, to: now - HOUR + 600_000 }]);
    const month = await seriesOf(one, arena, "30d", now, scales);
    expect(month.players.high[178]).toBe(10);
    expect((await monthOf(two, { host: "fsn-2", name: "arena" }, now))[178]).toBe(1);
    expect((await hoursOf(one, "fsn-1", null)).every(({ mean }) => mean >= 4)).toBe(true);
    expect(await hoursOf(one, "nowhere", null)).toEqual([]);
    expect((await readSparks(one, arena, now)).at(-1)?.mean).toBe(10);
    const event = { at: now, kind: "crash", text: "Crashed: SIGSEGV", detail: null } as const;
    await one.happened([{ ...arena, event }]);
    expect(await timelineOf(one, arena, undefined, 5)).toEqual({ events: [event], more: false });
    await one.close();
    await two.close();
    const again = await open();
    expect((await timelineOf(again, arena, undefined, 5)).events).toEqual([event]);
    await again.close();
  });

  describe("with an extension timescaledb, which a function of that name stands for", () => {
    const calls = async (sql: Sql) => sql.all("SELECT call FROM stub.calls ORDER BY call");
    let database: PostgresDatabase;
    beforeAll(async () => {
      database = await PostgresDatabase.open(postgres.address);
      const statements = [
        "CREATE SCHEMA stub",
        "CREATE TABLE stub.calls (call text)",
        // The parameters of TimescaleDB 2, in their order.
        `CREATE FUNCTION stub.create_hypertable(relation regclass, time_column_name name,
          partitioning_column name = NULL, number_partitions integer = NULL, associated_schema_name name = NULL,
          associated_table_prefix name = NULL, chunk_time_interval anyelement = NULL::bigint,
          create_default_indexes boolean = true, if_not_exists boolean = false, partitioning_func regproc = NULL,
          migrate_data boolean = false)
        RETURNS text LANGUAGE sql AS $$ INSERT INTO stub.calls
          VALUES (concat_ws(' ', relation, time_column_name, chunk_time_interval, if_not_exists, migrate_data)) RETURNING call $$`,
        "SET LOCAL allow_system_table_mods = on",
        `INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
          SELECT 99999, 'timescaledb', 10, oid, false, '2' FROM pg_namespace WHERE nspname = 'stub'`,
      ];
      await database.run(statements.map((sql) => ({ sql, values: [] })));
    });
    afterAll(async () => {
      const statements = ["SET LOCAL allow_system_table_mods = on", "DELETE FROM pg_extension WHERE oid = 99999"];
      await database.run(statements.map((sql) => ({ sql, values: [] })));
      await database.close();
    });

    it("asks it to make hypertables of the measurements, and keeps the history as before", async () => {
      const history = await open();
      expect(await calls(history.sql)).toEqual([{ call: "hourly at 604800 t t" }, { call: "sample at 21600 t t" }]);
      const now = Date.now();
      await history.sampled(now, [sample("ash-1", 3)]);
      const series = await seriesOf(history, { host: "ash-1", name: "arena" }, "24h", now, scales);
      expect([history.trouble, series.players.high.at(-1)]).toEqual([undefined, 3]);
      await history.close();
    });

    it("says that it refuses, and keeps the history without", async () => {
      await database.run([{ sql: "DROP TABLE stub.calls", values: [] }]);
      told.length = 0;
      const history = await open();
      expect(told).toEqual([expect.stringMatching(/^the history has no hypertables of TimescaleDB, .*stub\.calls/)]);
      await history.sampled(Date.now(), [sample("ash-1", 3)]);
      expect(history.trouble).toBe(undefined);
      await history.close();
    });
  });

  it("goes on when the database is started again", { timeout: 60_000 }, async () => {
    const history = await open();
    const now = Date.now();
    await history.sampled(now, [sample("hel-1", 1)]);
    await postgres.restart();
    // A connection that has broken fails one write at the most for each of its kind.
    for (let count = 1; count <= 6 && (count === 1 || history.trouble !== undefined); count++) {
      await history.sampled(now + count * 10_000, [sample("hel-1", 2)]);
    }
    expect(history.trouble).toBe(undefined);
    const series = await seriesOf(history, { host: "hel-1", name: "arena" }, "24h", now + 60_000, scales);
    expect(series.players.high.at(-1) ?? series.players.high.at(-2)).toBe(2);
    await history.close();
  });
});
