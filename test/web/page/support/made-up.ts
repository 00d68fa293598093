/** Berths, hosts and histories that are made up: the same at each run, around the present time. */
import type { BerthRow, Host, Overview, StateWord } from "../../../../packages/web/src/api/shapes.ts";
import { GAMES, gameOf, loadAt } from "./made-up-games.ts";

const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** Numbers from 0 to 1, the same for the same text. */
export function randomOf(text: string): () => number {
  let state = [...text].reduce((sum, char) => Math.imul(sum ^ char.charCodeAt(0), 16777619), 2166136261);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function madeUpHost(id: string, change: Partial<Host> = {}): Host {
  const now = Date.now();
  const random = randomOf(id);
  return {
    id,
    name: `${id}.example.net`,
    version: "1.9.0",
    up: now - 41 * DAY - 6 * HOUR,
    memory: { used: 38 * GIB, limit: 64 * GIB },
    zone: "Europe/Berlin",
    unreachableSince: null,
    nextTry: null,
    spark: Array.from({ length: 48 }, (_, at) => Math.round(400 * loadAt(now - (47 - at) * HOUR * 0.5, random() / 4))),
    ...change,
  };
}

/** A berth that serves, but for what `change` says. */
export function madeUpBerth(host: string, name: string, change: Partial<BerthRow> = {}): BerthRow {
  const now = Date.now();
  const random = randomOf(host + name);
  const game = gameOf(name);
  const shift = random() * 2.5 - 1;
  const popularity = 0.12 + random() * 0.85;
  const state: StateWord = change.state ?? "serving";
  const off = state === "failed" || state === "asleep" || state === "vacant";
  const since = change.since ?? now - Math.floor(random() ** 3 * 22 * DAY) - 20 * MINUTE;
  const spark = Array.from({ length: 48 }, (_, at) => {
    const time = now - (47 - at) * 30 * MINUTE;
    const players = loadAt(time, shift) * popularity * (0.9 + random() * 0.2) * game.slots;
    return off && time > since ? 0 : Math.round(players * 10) / 10;
  });
  const used = Math.round(game.memory * (0.7 + random() * 0.5) * GIB);
  return {
    host,
    name,
    state,
    since,
    cause: null,
    outdated: null,
    drain: null,
    game: game.title,
    map: game.maps[Math.floor(random() * game.maps.length)] ?? null,
    players: off || state === "starting" ? 0 : Math.round(spark.at(-1) ?? 0),
    slots: game.slots,
    spark,
    address: `203.0.113.9:${game.port + Math.floor(random() * 90)}`,
    protocol: game.protocol,
    image: `${name.split("@")[0]}@${game.version}`,
    memory: off ? null : { used, limit: Math.ceil(game.memory * 3) * 512 * MIB },
    restarts: Math.floor(random() * 4),
    user: name.replace("@", "-"),
    ...change,
  };
}

/** One berth in each state, and more that serve: thirty. */
export function thirtyBerths(host: string): readonly BerthRow[] {
  const now = Date.now();
  const of = (name: string, change: Partial<BerthRow> = {}): BerthRow => madeUpBerth(host, name, change);
  return [
    of("mc@survival", { state: "failed", since: now - 26 * MINUTE, cause: "out of memory, 5×" }),
    of("factorio@lab", {
      state: "failed",
      since: now - 3 * HOUR,
      cause: "no such image, 12×",
      image: "factorio@2.0.42",
    }),
    of("cs2@mirage", { state: "problem", since: now - 5 * MINUTE, cause: "1,204 packets lost" }),
    of("tf2@upward", { state: "draining", players: 7, drain: { began: now - 6 * MINUTE, deadline: now + 252_000 } }),
    of("valheim@odin", { state: "handover", since: now - 8000 }),
    of("luanti@valleys", { state: "starting", since: now - 12_000 }),
    of("arena@red", { outdated: { image: "arena@2.5.0", configuration: false } }),
    of("ddnet@kobra", { outdated: { image: null, configuration: true } }),
    of("ttd@arctic", { state: "asleep", since: now - 3 * HOUR - 9 * MINUTE }),
    of("arena@alice", { state: "asleep", since: now - 19 * HOUR }),
    of("factorio@vulcanus", { state: "asleep", since: now - 5 * DAY }),
    of("tanks@hix", { state: "asleep", since: now - 44 * MINUTE }),
    of("mc@creative", { state: "vacant", since: now - 2 * DAY - 3 * HOUR }),
    ...["arena@bob", "arena@green", "arena@blue", "cs2@dust2", "cs2@inferno", "cs2@nuke", "ddnet@novice"].map((n) =>
      of(n),
    ),
    ...["ddnet@moderate", "ddnet@brutal", "mc@skyblock", "mc@lobby", "tf2@dustbowl", "tf2@harvest"].map((n) => of(n)),
    ...["luanti@carpathian", "tanks@pillbox", "ttd@temperate", "valheim@freya"].map((n) => of(n)),
  ];
}

export function threeBerths(host: string): readonly BerthRow[] {
  const wanted = ["mc@survival", "arena@bob", "ttd@arctic"];
  return thirtyBerths(host).filter((berth) => wanted.includes(berth.name));
}

/** Thirty, and as many more as make `count`. */
export function manyBerths(host: string, count: number): readonly BerthRow[] {
  const random = randomOf("many");
  const more = Array.from({ length: count - 30 }, (_, at) => {
    const game = Object.keys(GAMES)[Math.floor(random() * Object.keys(GAMES).length)] ?? "arena";
    const group = ["eu", "us", "ffa", "duel", "club", "cup"][Math.floor(random() * 6)];
    return madeUpBerth(host, `${game}@${group}-${String(at + 30).padStart(3, "0")}`, changeOf(random(), game));
  });
  return [...thirtyBerths(host), ...more];
}

function changeOf(chance: number, game: string): Partial<BerthRow> {
  if (chance < 0.3) return { state: "asleep" };
  if (chance < 0.35) return { state: "vacant" };
  if (chance < 0.38) return { outdated: { image: `${game}@9.0`, configuration: false } };
  return chance < 0.385 ? { state: "failed", cause: "status 1, 3×", since: Date.now() - 40 * MINUTE } : {};
}

export function overviewOf(berths: readonly BerthRow[], hosts: readonly Host[] = [madeUpHost("fsn-1")]): Overview {
  return { at: Date.now(), hosts, berths };
}

/** Four hosts, one of which does not answer. */
export function madeUpFleet(): Overview {
  const down = Date.now() - 14 * MINUTE;
  const few = (host: string, count: number): BerthRow[] =>
    Array.from({ length: count }, (_, at) => {
      const game = Object.keys(GAMES)[at % 10] ?? "arena";
      return madeUpBerth(
        host,
        `${game}@${["north", "south", "east"][at % 3]}-${at}`,
        at % 4 === 3 ? { state: "asleep" } : {},
      );
    });
  return overviewOf(
    [
      ...thirtyBerths("fsn-1"),
      ...few("fsn-2", 58),
      madeUpBerth("hel-1", "ddnet@east", { state: "failed", since: Date.now() - 7 * MINUTE, cause: "status 1, 2×" }),
      ...few("hel-1", 28),
      ...few("ash-1", 16),
    ],
    [
      madeUpHost("fsn-1"),
      madeUpHost("fsn-2"),
      madeUpHost("hel-1", { version: "1.8.2" }),
      madeUpHost("ash-1", { unreachableSince: down, nextTry: Date.now() + 5000 }),
    ],
  );
}
