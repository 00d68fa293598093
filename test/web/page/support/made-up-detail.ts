/** What is shown of one made-up berth when it is opened. */
import type { BerthRecord } from "berthd";
import type {
  BerthDetail,
  BerthRow,
  PublicBerth,
  Quiet,
  QuietHour,
  Series,
  Timeline,
  Why,
} from "../../../../packages/web/src/api/shapes.ts";
import { PlayersOfADay } from "../../../../packages/web/src/model/known.ts";
import { whyOf } from "../../../../packages/web/src/model/why.ts";
import { DAY, HOUR, randomOf } from "./made-up.ts";
import { loadAt } from "./made-up-games.ts";

const MINUTE = 60_000;

export function madeUpDetail(row: BerthRow): BerthDetail {
  const runs = row.memory !== null;
  const bad = row.state === "problem";
  return {
    ...row,
    why: madeUpWhy(row),
    tenant: runs ? { pid: 50_903, user: row.user ?? "nobody", unit: `berth@${row.name}.service` } : null,
    starts: row.state === "asleep" ? "on-demand" : row.state === "vacant" ? "hand" : "unit",
    status: null,
    cpu: runs ? 0.4 : null,
    sockets: [
      {
        name: "game",
        address: `${row.protocol}://0.0.0.0:27015`,
        queue: { bytes: bad ? 4_194_304 : 0, limit: 4_194_304 },
        drops: bad ? 1204 : 0,
        backlog: null,
      },
    ],
    quietest: madeUpQuiet(row).best,
    publicPage: row.name === "cs2@dust2" ? "/p/cs2@dust2" : null,
  };
}

/** What the server says of such a berth, so its sentences are never older than the server's own. */
function madeUpWhy(row: BerthRow): Why | null {
  const { name, state, since, drain, outdated } = row;
  const now = Date.now();
  const record: BerthRecord = {
    name,
    state: row.memory === null ? "vacant" : "occupied",
    descriptors: [{ name: "game", kind: "datagram", address: "udp://0.0.0.0:27015" }],
    start:
      state === "failed"
        ? { state: "failed", failures: 5, reason: "out of memory", next: micros(now + 164_000) }
        : null,
    drain:
      drain === null ? null : { began: micros(drain.began ?? now), deadline: drain.deadline && micros(drain.deadline) },
    outdated: outdated?.configuration,
    root: outdated?.image ? { images: [`${row.image}`], state: "persistent", newer: [outdated.image] } : null,
  };
  const loss = state === "problem" ? { count: 1204, since: now - 5 * MINUTE, last: now } : undefined;
  const nothing = { measured: undefined, cpu: null, query: undefined, saysReady: false, leasedAt: null };
  return whyOf({ ...nothing, record, state, since, loss, players: new PlayersOfADay() }, now);
}

/** As the broker writes times. */
function micros(ms: number): number {
  return ms * 1000;
}

export function madeUpSeries(row: BerthRow, range: Series["range"]): Series {
  const [count, step] = range === "24h" ? [144, 10 * MINUTE] : [180, 4 * HOUR];
  const start = Date.now() - (count - 0.5) * step;
  const random = randomOf(row.name + range);
  const slots = row.slots ?? 16;
  // Never empty: a test reads the values of this moment, and at five in the morning nobody would play.
  const loads = Array.from({ length: count }, (_, at) => Math.max(0.05, loadAt(start + at * step, 0)));
  const full = loads.map((load) => load * (0.8 + random() * 0.2));
  const plot = (top: number, limit: number | null): Series["players"] => ({
    mean: full.map((part) => Math.round(part * top * 100) / 100),
    high: full.map((part) => Math.min(top, Math.round(part * top * 120) / 100)),
    limit,
  });
  const crash = start + (count - 30) * step;
  return {
    range,
    start,
    step,
    players: plot(slots * 0.9, slots),
    queue: plot(row.state === "problem" ? 3.9 * 2 ** 20 : 40_000, 4 * 2 ** 20),
    drops: full.map((_, at) => (row.state === "problem" && at >= count - 5 ? 241 : 0)),
    cpu: plot(0.6, null),
    memory: plot((row.memory?.limit ?? 2 ** 30) * 0.9, row.memory?.limit ?? 2 ** 30),
    idle: [{ from: crash, to: crash + 3 * step }],
    lost: row.state === "problem" ? [{ from: start + (count - 5) * step, to: start + count * step }] : [],
    crashes: [crash],
  };
}

export function madeUpTimeline(row: BerthRow): Timeline {
  const since = row.since ?? Date.now() - HOUR;
  return {
    more: true,
    events: [
      {
        at: since,
        kind: "lease",
        text: "Lease taken by pid 50903",
        detail: `user ${row.user}, berth@${row.name}.service`,
      },
      { at: since - 26 * HOUR, kind: "takeover", text: "Taken over", detail: "by pid 50903; the sockets stayed open" },
      {
        at: since - 50 * HOUR,
        kind: "crash",
        text: "Crashed: SIGSEGV",
        detail: "it was ended by SIGSEGV",
      },
    ],
  };
}

/** `row` undefined: all berths of the host. */
export function madeUpQuiet(row: BerthRow | undefined, days: number = 56): Quiet {
  const random = randomOf(row?.name ?? "all");
  const top = row?.slots ?? 400;
  const monday = new Date("2026-11-30T00:00:00").getTime();
  const mean = Array.from({ length: 7 }, (_, day) =>
    Array.from(
      { length: 24 },
      (_, hour) => loadAt(monday + day * DAY + hour * HOUR, 0.5) * top * (0.9 + random() * 0.2),
    ),
  );
  const at = (weekday: number, hour: number): QuietHour => ({
    weekday,
    hour,
    mean: mean[weekday]?.[hour] ?? 0,
    high: (mean[weekday]?.[hour] ?? 0) * 1.6,
    next: Date.now() + 2 * DAY + 15 * HOUR,
  });
  const enough = days >= 14;
  return {
    berth: row === undefined ? null : `${row.host}/${row.name}`,
    host: row?.host ?? "fsn-1",
    zone: "Europe/Berlin",
    days,
    enough,
    mean,
    best: enough ? at(1, 5) : null,
    others: enough ? [at(4, 5), at(2, 5)] : [],
    remedy:
      row === undefined || !enough
        ? null
        : {
            what: "Restart it then",
            command: `systemd-run --on-calendar="2026-12-01 05:00" berth restart ${row.name}`,
          },
  };
}

export function madeUpPublic(row: BerthRow): PublicBerth {
  const series = madeUpSeries(row, "30d");
  return {
    name: row.name,
    title: "Dust II, all day",
    game: row.game,
    map: row.map,
    state: "open",
    players: row.players,
    slots: row.slots,
    address: row.address,
    join: `steam://connect/${row.address}`,
    spark: row.spark,
    month: series.players.mean,
    at: Date.now(),
  };
}
