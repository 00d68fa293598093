/** The history in a file: what it keeps, how it is thinned out, and what it survives. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { History, type Sample } from "../../packages/web/src/history/history.ts";
import { MAX_EVENTS_PER_BERTH } from "../../packages/web/src/history/schema.ts";
import { hoursOf, monthOf, readSparks, seriesOf, timelineOf } from "../../packages/web/src/history/series.ts";
import { insertRows, numberOf, type Sql } from "../../packages/web/src/history/sql.ts";
import { SqliteFile } from "../../packages/web/src/history/sqlite.ts";
import { TimelineFeed } from "../../packages/web/src/timeline-feed.ts";
import { packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { endsWithTest } from "../support/wrap.ts";

const HOUR = 3_600_000;
const arena = { host: "fsn-1", name: "arena" };
const scales = { slots: 32, memoryLimit: null, queueLimit: 212_992 };

function sample(players: number | null, more: Partial<Sample> = {}): Sample {
  return { ...arena, players, cpu: 0.5, memory: 1_000_000, queue: 0, drops: 0, ...more };
}

async function open(path: string, told: string[] = [], maxBytes?: number): Promise<History> {
  return History.open(await SqliteFile.open(path, maxBytes), (message) => told.push(message));
}

function feedOf(history: History): TimelineFeed {
  return new TimelineFeed({ keep: (happened) => history.happened(happened), show: () => undefined });
}

const crowdedArena = { ...arena, name: "crowded" };

/** Events as an older version left them: more of one berth than are kept. */
async function crowd({ sql }: History, berth: number, from: number, count: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, at) => [berth, from + at, "lease", "Taken by pid 123456", "as evil"]);
  await sql.run(insertRows("event", ["berth", "at", "kind", "text", "detail"], rows));
}

/** How many writes there was room for. */
async function roundsUntilFull(write: (round: number) => Promise<void>): Promise<number> {
  let round = 0;
  await expect(
    (async () => {
      for (; round < 10_000; round++) await write(round);
    })(),
  ).rejects.toThrow(/full/);
  return round;
}

/** Samples until one is refused, and then until one is not. How many that were. */
async function samplesUntilWrittenAgain(history: History, told: readonly string[], from: number): Promise<number> {
  let count = 0;
  while (told.length < 2 && count < 2_000) await history.sampled(from + ++count * 10_000, [sample(2)]);
  return count;
}

async function countOf(history: History, table: "sample" | "event", berth = arena): Promise<number> {
  const [row] = await history.sql.all(`SELECT count(*) AS count FROM ${table} WHERE berth = ?`, [
    history.idOf(berth) ?? -1,
  ]);
  return numberOf(row?.["count"]) ?? 0;
}

describe("the history", () => {
  it("gives the plots of a day and of a month, with the hours thinned out", async () => {
    using folder = new TestFolder();
    const history = await open(join(folder.path, "h.db"));
    const now = Math.floor(Date.now() / (4 * HOUR)) * 4 * HOUR + HOUR / 2;
    for (let at = now - 5 * HOUR; at < now; at += 5 * 60_000) {
      await history.sampled(at, [
        sample(at < now - 2 * HOUR ? 4 : 10, { drops: at === now - HOUR ? 7 : 0, queue: at === now - HOUR ? 4096 : 0 }),
      ]);
    }
    const day = await seriesOf(history, arena, "24h", now, scales);
    expect(day.players.mean.at(-2)).toBe(10);
    expect(day.players.mean.at(-20)).toBe(4);
    expect(day.players.limit).toBe(32);
    expect(day.players.mean[0]).toBe(null);
    expect(day.lost).toEqual([{ from: now - HOUR, to: now - HOUR + 600_000 }]);
    expect(day.queue).toEqual({ mean: day.queue.high, high: day.queue.high, limit: 212_992 });
    expect([day.queue.high[0], day.queue.high.at(-2), Math.max(...day.queue.high.map(Number))]).toEqual([
      null,
      0,
      4096,
    ]);
    expect([day.drops[0], Math.max(...day.drops.map(Number))]).toEqual([null, 7]);
    expect(day.idle[0]?.from).toBe(day.start - day.step / 2);
    const month = await seriesOf(history, arena, "30d", now, scales);
    expect(month.players.mean.slice(0, 177).every((mean) => mean === null)).toBe(true);
    expect(month.players.mean[178]).toBeGreaterThan(3);
    expect(month.players.high[178]).toBe(10);
    expect([month.queue.high[178], month.drops[178]]).toEqual([4096, 7]);
    expect(await monthOf(history, arena, now)).toHaveLength(180);
    expect((await hoursOf(history, "fsn-1", null)).length).toBeGreaterThan(3);
    expect((await readSparks(history, arena, now)).at(-1)?.mean).toBe(10);
    await history.close();
  });

  it("keeps the events of each berth apart, and the newest of one that has too many", async () => {
    using folder = new TestFolder();
    const history = await open(join(folder.path, "h.db"));
    const now = Date.now();
    for (let count = 0; count < 2_100; count++) {
      const event = { at: now - (2_100 - count) * 1_000, kind: "crash", text: `Crash ${count}`, detail: null } as const;
      await history.happened([{ ...arena, event }]);
    }
    const event = { at: now - 9_999, kind: "lease", text: "x", detail: "y" } as const;
    await history.happened([{ host: "fsn-1", name: "other", event }]);
    await history.sampled(now, [sample(1)]);
    const { events, more } = await timelineOf(history, arena, undefined, 3);
    expect([events.map(({ text }) => text), more]).toEqual([["Crash 2099", "Crash 2098", "Crash 2097"], true]);
    const older = await timelineOf(history, arena, events.at(-1)?.at, 5_000);
    expect(older.events).toHaveLength(1_997);
    const other = await timelineOf(history, { host: "fsn-1", name: "other" }, undefined, 3);
    expect(other.events).toEqual([event]);
    await history.close();
  });

  it("forgets what is too old, and keeps the hours for eight weeks", async () => {
    using folder = new TestFolder();
    const history = await open(join(folder.path, "h.db"));
    const now = Math.floor(Date.now() / HOUR) * HOUR + HOUR / 2;
    const day = 24 * HOUR;
    for (const at of [now - 60 * day, now - 59 * day, now - 50 * day, now - 50 * day + HOUR, now]) {
      await history.sampled(at, [sample(3)]);
    }
    const samples = await history.sql.all("SELECT at FROM sample");
    expect(samples.map((row) => row["at"])).toEqual([Math.floor(now / 1000)]);
    const hours = await hoursOf(history, "fsn-1", "arena");
    expect(hours.map(({ at }) => Math.round((now - at) / day))).toEqual([50, 50]);
    await history.close();
  });

  it("stays within its largest size: the oldest samples make room", { timeout: 60_000 }, async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "h.db");
    const told: string[] = [];
    const history = await open(path, told, 1024 * 1024);
    const start = Math.floor(Date.now() / HOUR) * HOUR;
    const berths = Array.from({ length: 100 }, (_, at) => `berth-${at}`);
    for (let round = 0; round < 300; round++) {
      await history.sampled(
        start + round * 10_000,
        berths.map((name) => sample(2, { name })),
      );
    }
    await history.sampled(start + 3_000_000, [sample(9)]);
    expect(history.trouble).toBe(undefined);
    const [row] = await history.sql.all("SELECT min(at) AS oldest, max(at) AS newest FROM sample");
    expect(row).toMatchObject({ newest: start / 1000 + 3000 });
    expect(Number(row?.["oldest"])).toBeGreaterThan(start / 1000);
    expect(told.length).toBeGreaterThan(1);
    await history.close();
    expect(statSync(path).size).toBeLessThanOrEqual(1024 * 1024);
  });

  it("a tenant that takes and releases its berth in a loop costs the others nothing", { timeout: 60_000 }, async () => {
    using folder = new TestFolder();
    const told: string[] = [];
    const history = await open(join(folder.path, "h.db"), told, 1024 * 1024);
    const feed = feedOf(history);
    const start = Math.floor(Date.now() / HOUR) * HOUR;
    for (let round = 0; round < 30; round++) {
      await feed.tick(start + round * 10_000);
      await history.sampled(start + round * 10_000, [sample(2)]);
      for (let cycle = 0; cycle < 400; cycle++) {
        const text = `Taken by pid ${round * 400 + cycle}`;
        await feed.happened(crowdedArena, { at: start + round * 10_000, kind: "lease", text, detail: null });
      }
    }
    await feed.tick(start + 300_000);
    await history.sampled(start + 300_000, [sample(2)]);
    expect([told, await countOf(history, "sample"), await countOf(history, "event", crowdedArena)]).toEqual([
      [],
      31,
      5 * 61,
    ]);
    const { events } = await timelineOf(history, crowdedArena, undefined, 2);
    expect(events.map(({ text }) => text)).toContain("… and 2339 more, then: Taken by pid 11999");
    await history.close();
  });

  it("counts what was left out also when it is closed", async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "h.db");
    const history = await open(path);
    const feed = feedOf(history);
    const at = Date.now();
    for (const text of Array.from({ length: 63 }, (_, index) => `Crash ${index}`)) {
      await feed.happened(arena, { at, kind: "crash", text, detail: null });
    }
    await feed.close();
    await history.close();
    const again = await open(path);
    const { events } = await timelineOf(again, arena, undefined, 100);
    expect(events).toHaveLength(61);
    expect(events.map(({ text }) => text)).toContain("… and 2 more, then: Crash 62");
    await again.close();
  });

  it("a file full of one berth's events is written again, and the others lose no sample", {
    timeout: 60_000,
  }, async () => {
    using folder = new TestFolder();
    const told: string[] = [];
    const history = await open(join(folder.path, "h.db"), told, 1024 * 1024);
    const start = Math.floor(Date.now() / HOUR) * HOUR;
    for (let round = 0; round < 100; round++) {
      await history.sampled(start + round * 10_000, [sample(2), sample(1, crowdedArena)]);
    }
    const berth = history.idOf(crowdedArena) ?? -1;
    await roundsUntilFull((round) => crowd(history, berth, start + round * 100, 100));
    const tries = await samplesUntilWrittenAgain(history, told, start + 1_000_000);
    expect(told).toEqual([
      expect.stringMatching(/^the history cannot be written, .*full/),
      "the history is written again",
    ]);
    // One is the write that was refused.
    expect(await countOf(history, "sample")).toBe(100 + tries - 1);
    expect(await countOf(history, "event", crowdedArena)).toBe(MAX_EVENTS_PER_BERTH);
    await history.close();
  });

  it("a file full of the events of many berths is written again: the oldest events make room", {
    timeout: 60_000,
  }, async () => {
    using folder = new TestFolder();
    const told: string[] = [];
    const history = await open(join(folder.path, "h.db"), told, 1024 * 1024);
    const start = Math.floor(Date.now() / HOUR) * HOUR;
    await history.sampled(start, [sample(2)]);
    const first = 10;
    const berths = await roundsUntilFull((round) => crowd(history, first + round, start + round * 1_000, 100));
    const tries = await samplesUntilWrittenAgain(history, told, start);
    expect(told).toHaveLength(2);
    // One more was there before, and one is the write that was refused.
    expect(await countOf(history, "sample")).toBe(1 + tries - 1);
    const [row] = await history.sql.all("SELECT min(berth) AS first, max(berth) AS last FROM event");
    expect(numberOf(row?.["first"])).toBeGreaterThan(first);
    expect(row?.["last"]).toBe(first + berths - 1);
    await history.close();
  });

  it("looks once for where the events of a crowded berth end, however many there are", async () => {
    using folder = new TestFolder();
    const file = await SqliteFile.open(join(folder.path, "h.db"));
    const looks: string[] = [];
    const counted: Sql = {
      async all(sql, values) {
        if (sql.includes("OFFSET")) looks.push(sql);
        return await file.all(sql, values);
      },
      async run(statements) {
        looks.push(...statements.flatMap(({ sql }) => (sql.startsWith("DELETE FROM event WHERE berth") ? sql : [])));
        await file.run(statements);
      },
      close: () => file.close(),
    };
    const history = await History.open(counted, () => undefined);
    const start = Math.floor(Date.now() / HOUR) * HOUR;
    await history.sampled(start, [sample(2), sample(1, crowdedArena)]);
    await crowd(history, history.idOf(arena) ?? -1, start, 10);
    await crowd(history, history.idOf(crowdedArena) ?? -1, start, 5_000);
    await history.sampled(start + HOUR, [sample(2)]);
    // And none for each row: no statement selects while it deletes.
    expect(looks).toEqual([
      expect.stringMatching(/^SELECT at FROM event WHERE berth = \?/),
      "DELETE FROM event WHERE berth = ? AND at <= ?",
    ]);
    expect([await countOf(history, "event", crowdedArena), await countOf(history, "event")]).toEqual([
      MAX_EVENTS_PER_BERTH,
      10,
    ]);
    await history.close();
  });

  it("loses no event that comes while others are being written", async () => {
    using folder = new TestFolder();
    const file = await SqliteFile.open(join(folder.path, "h.db"));
    let meanwhile: (() => void) | undefined;
    const slow: Sql = {
      all: (sql, values) => file.all(sql, values),
      close: () => file.close(),
      async run(statements) {
        await file.run(statements);
        if (statements.some(({ sql }) => sql.startsWith("INSERT INTO event"))) meanwhile?.();
      },
    };
    const history = await History.open(slow, () => undefined);
    const at = Date.now();
    let second: Promise<void> | undefined;
    meanwhile = () => {
      meanwhile = undefined;
      second = history.happened([{ ...arena, event: { at, kind: "crash", text: "second", detail: null } }]);
    };
    await history.happened([{ ...arena, event: { at: at - 1, kind: "crash", text: "first", detail: null } }]);
    await second;
    expect((await timelineOf(history, arena, undefined, 5)).events.map(({ text }) => text)).toEqual([
      "second",
      "first",
    ]);
    await history.close();
  });

  it("has one process at a time, and says which file it is about", async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "h.db");
    const history = await open(path);
    await expect(SqliteFile.open(path, undefined, 2)).rejects.toThrow(/another process has the history .*h\.db/);
    await history.close();
    await (await open(path)).close();
    await expect(SqliteFile.open(join(folder.path, "absent/h.db"))).rejects.toThrow(
      /there is no folder .*absent; make it/,
    );
  });

  it("refuses a file that is something else, and leaves it as it is", async () => {
    using folder = new TestFolder({ "h.db": "these are no pages of a database\n".repeat(500) });
    const path = join(folder.path, "h.db");
    const size = statSync(path).size;
    await expect(open(path)).rejects.toThrow(/history .*h\.db cannot be used: .*not a database/);
    expect(statSync(path).size).toBe(size);
  });
});

/** A process that writes samples for ever, and says how many. */
const writer = `
import { History } from ${JSON.stringify(join(packageRoot, "packages/web/dist/server/history/history.js"))};
import { SqliteFile } from ${JSON.stringify(join(packageRoot, "packages/web/dist/server/history/sqlite.js"))};
const history = await History.open(await SqliteFile.open(process.argv[1]), console.error);
const [{ last }] = await history.sql.all("SELECT coalesce(max(at), 0) AS last FROM sample");
for (let at = last + 1; ; at++) {
  const names = Array.from({ length: 50 }, (_, index) => "berth-" + index);
  await history.sampled(at * 1000, names.map((name) => ({ host: "h", name, players: 1, cpu: 1, memory: 1, queue: 0, drops: 0 })));
  console.log(at);
  await new Promise(setImmediate);
}`;

it("survives SIGKILL at any moment: each sample that was told is there, whole", { timeout: 60_000 }, async () => {
  using folder = new TestFolder();
  const path = join(folder.path, "h.db");
  for (const [round, lines] of [3, 40, 17, 90].entries()) {
    const [command = "", ...rest] = [...endsWithTest, process.execPath, "--input-type=module", "--eval", writer, path];
    const child = spawn(command, rest, { stdio: ["ignore", "pipe", "inherit"] });
    let told: string[] = [];
    let text = "";
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.stdout.on("data", (chunk) => {
        text += chunk;
        told = text.split("\n").slice(0, -1);
        if (told.length >= lines) resolve();
      });
    });
    child.kill("SIGKILL");
    await once(child, "close");
    told = text.split("\n").slice(0, -1);
    const sql = await SqliteFile.open(path);
    const counts = await sql.all("SELECT at, count(*) AS berths FROM sample GROUP BY at HAVING count(*) != 50");
    const [row] = await sql.all("SELECT max(at) AS last FROM sample");
    expect(await sql.all("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
    expect([round, counts]).toEqual([round, []]);
    expect(Number(row?.["last"])).toBeGreaterThanOrEqual(Number(told.at(-1)));
    await sql.close();
  }
});

describe("on a full disk", needs("root"), () => {
  it("says so, goes on, and writes again when there is room", { timeout: 60_000 }, async () => {
    using folder = new TestFolder();
    const disk = join(folder.path, "disk");
    mkdirSync(disk);
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]).status).toBe(0);
    try {
      const told: string[] = [];
      const history = await open(join(disk, "h.db"), told);
      const filler = join(disk, "filler");
      const berths = Array.from({ length: 100 }, (_, at) => `berth-${at}`);
      const start = Math.floor(Date.now() / HOUR) * HOUR;
      const write = (round: number): Promise<void> =>
        history.sampled(
          start + round * 10_000,
          berths.map((name) => sample(2, { name })),
        );
      await write(0);
      expect(history.trouble).toBe(undefined);
      // What is left of it.
      expect(() => writeFileSync(filler, Buffer.alloc(1024 * 1024))).toThrow(/ENOSPC/);
      let round = 1;
      while (history.trouble === undefined && round < 200) await write(round++);
      expect(told[0]).toMatch(/^the history cannot be written, and is tried again: /);
      await write(round++);
      expect(told).toHaveLength(1);
      expect(
        (await seriesOf(history, { host: "fsn-1", name: "berth-5" }, "24h", start, scales)).players.mean,
      ).toContain(2);
      rmSync(filler);
      await write(round++);
      expect(told.slice(1)).toEqual(["the history is written again"]);
      const [row] = await history.sql.all("SELECT max(at) AS last FROM sample");
      expect(row?.["last"]).toBe(start / 1000 + (round - 1) * 10);
      expect(await history.sql.all("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }]);
      await history.close();
    } finally {
      spawnSync("umount", [disk]);
    }
  });
});
