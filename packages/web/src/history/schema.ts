/** The tables of the history. Times are seconds since 1970, but those of events, which are milliseconds. */

/** `text`, `bigint` and `double precision` mean the same to SQLite and PostgreSQL. */
export const schema: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS berth (
    id integer PRIMARY KEY,
    host text NOT NULL,
    name text NOT NULL,
    UNIQUE (host, name)
  )`,
  // What was measured, as often as it was. Only of berths that have a server.
  `CREATE TABLE IF NOT EXISTS sample (
    berth integer NOT NULL,
    at bigint NOT NULL,
    players integer,
    cpu double precision,
    memory bigint,
    queue bigint,
    drops bigint,
    PRIMARY KEY (berth, at)
  )`,
  // Most samples have no players: this finds those that do.
  "CREATE INDEX IF NOT EXISTS sample_played ON sample (berth, at) WHERE players > 0",
  // The same by hours. samples is the count of all, played that of the samples whose players are known.
  `CREATE TABLE IF NOT EXISTS hourly (
    berth integer NOT NULL,
    at bigint NOT NULL,
    samples integer NOT NULL,
    played integer NOT NULL,
    players double precision,
    players_high integer,
    cpu double precision,
    cpu_high double precision,
    memory double precision,
    memory_high bigint,
    queue_high bigint,
    drops bigint,
    PRIMARY KEY (berth, at)
  )`,
  `CREATE TABLE IF NOT EXISTS event (
    berth integer NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    text text NOT NULL,
    detail text
  )`,
  "CREATE INDEX IF NOT EXISTS event_of_berth ON event (berth, at)",
];

/** How long each is kept, in seconds. */
export const KEEP_SAMPLES: number = 26 * 3600;
export const KEEP_HOURS: number = 56 * 24 * 3600;
export const KEEP_EVENTS: number = 56 * 24 * 3600;
/** Of one berth: a server that crashes every second must not push out the events of the others. */
export const MAX_EVENTS_PER_BERTH = 2_000;
