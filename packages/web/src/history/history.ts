/**
 * The history of berths: what was measured and what happened, kept for weeks. It never fails its callers: what the
 * database refuses is remembered as trouble, and the next write is a new try.
 */
import type { TimelineEvent, TimelineKind } from "../api/history-shapes.ts";
import { KEEP_EVENTS, KEEP_HOURS, KEEP_SAMPLES, MAX_EVENTS_PER_BERTH, schema } from "./schema.ts";
import { insertRows, numberOf, type Sql, type Statement, textOf } from "./sql.ts";

export interface BerthId {
  readonly host: string;
  readonly name: string;
}

/** What was measured of one berth at one time. */
export interface Sample extends BerthId {
  readonly players: number | null;
  /** Processor time per second since the sample before. */
  readonly cpu: number | null;
  readonly memory: number | null;
  /** Bytes in its fullest receive queue. */
  readonly queue: number | null;
  /** Datagrams lost since the sample before. */
  readonly drops: number | null;
}

export interface Happened extends BerthId {
  readonly event: TimelineEvent;
}

/** Events that wait while the database refuses writes. */
const MAX_WAITING = 1_000;
const HOUR = 3600;

export class History {
  readonly sql: Sql;
  readonly #ids = new Map<string, number>();
  #waiting: Happened[] = [];
  #trouble: string | undefined;
  #hour = 0;
  /** One write at a time, in order. */
  #last: Promise<void> = Promise.resolve();
  readonly #tell: (message: string) => void;

  private constructor(sql: Sql, tell: (message: string) => void) {
    this.sql = sql;
    this.#tell = tell;
  }

  /** Makes what is missing of the tables. `tell` gets a sentence when trouble begins, and when it ends. */
  static async open(sql: Sql, tell: (message: string) => void): Promise<History> {
    const history = new History(sql, tell);
    await sql.run(schema.map((one) => ({ sql: one, values: [] })));
    for (const row of await sql.all("SELECT id, host, name FROM berth")) {
      history.#ids.set(keyOf({ host: textOf(row["host"]), name: textOf(row["name"]) }), numberOf(row["id"]) ?? 0);
    }
    return history;
  }

  /** Why nothing can be written; undefined if it can. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** The number of a berth; undefined for one that nothing is known of. */
  idOf(berth: BerthId): number | undefined {
    return this.#ids.get(keyOf(berth));
  }

  /** The numbers of all berths of a host. */
  idsOf(host: string): number[] {
    return [...this.#ids].filter(([key]) => key.startsWith(`${host}/`)).map(([, id]) => id);
  }

  happened(berth: BerthId, event: TimelineEvent): Promise<void> {
    this.#waiting.push({ ...berth, event });
    // The oldest ones are lost first.
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
    return this.#queue(() => this.#writeEvents());
  }

  /** Samples of one moment, in milliseconds since 1970. */
  sampled(at: number, samples: readonly Sample[]): Promise<void> {
    return this.#queue(async () => {
      const seconds = Math.floor(at / 1000);
      await this.#writeEvents();
      await this.#know(samples);
      const rows = samples.map((one) => [
        this.idOf(one) ?? 0,
        seconds,
        whole(one.players),
        one.cpu,
        whole(one.memory),
        whole(one.queue),
        whole(one.drops),
      ]);
      const columns = ["berth", "at", "players", "cpu", "memory", "queue", "drops"];
      if (rows.length > 0) await this.sql.run(insertRows("sample", columns, rows, "ON CONFLICT DO NOTHING"));
      const hour = Math.floor(seconds / HOUR) * HOUR;
      if (hour !== this.#hour) {
        // The first time it may be a restart after hours.
        const from = this.#hour === 0 ? seconds - KEEP_SAMPLES : this.#hour - HOUR;
        await this.sql.run([...summaries(from, hour), ...removals(seconds)]);
        this.#hour = hour;
      }
    });
  }

  async #writeEvents(): Promise<void> {
    if (this.#waiting.length === 0) return;
    const events = this.#waiting;
    await this.#know(events);
    const rows = events.map((one) => {
      const { at, kind, text, detail } = one.event;
      return [this.idOf(one) ?? 0, at, kind satisfies TimelineKind, text, detail];
    });
    await this.sql.run(insertRows("event", ["berth", "at", "kind", "text", "detail"], rows));
    this.#waiting = this.#waiting.slice(events.length);
  }

  async #know(berths: readonly BerthId[]): Promise<void> {
    const unknown = new Map(berths.filter((one) => this.idOf(one) === undefined).map((one) => [keyOf(one), one]));
    if (unknown.size === 0) return;
    const [row] = await this.sql.all("SELECT coalesce(max(id), 0) AS last FROM berth");
    let id = numberOf(row?.["last"]) ?? 0;
    const rows = [...unknown.values()].map(({ host, name }) => [++id, host, name]);
    await this.sql.run(insertRows("berth", ["id", "host", "name"], rows));
    for (const [number, host, name] of rows) {
      this.#ids.set(keyOf({ host: String(host), name: String(name) }), Number(number));
    }
  }

  #queue(write: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(async () => {
      try {
        await write();
        if (this.#trouble !== undefined) this.#tell("the history is written again");
        this.#trouble = undefined;
      } catch (error) {
        const trouble = error instanceof Error ? error.message : String(error);
        if (this.#trouble === undefined) this.#tell(`the history cannot be written, and is tried again: ${trouble}`);
        this.#trouble = trouble;
        // The largest size is reached, if it is not the disk that is full: then this is refused too.
        if (/full/.test(trouble)) await this.sql.run(removalOfOldest()).catch(() => undefined);
      }
    });
    return this.#last;
  }

  async close(): Promise<void> {
    await this.#last;
    await this.sql.close();
  }
}

function keyOf({ host, name }: BerthId): string {
  return `${host}/${name}`;
}

function whole(value: number | null): number | null {
  return value === null ? null : Math.round(value);
}

/** Each hour between that has no summary yet. */
function summaries(from: number, to: number): Statement[] {
  const sql = `INSERT INTO hourly
    SELECT berth, at / ${HOUR} * ${HOUR} AS hour, count(*), count(players),
      avg(CAST(players AS double precision)), max(players), avg(cpu), max(cpu),
      avg(CAST(memory AS double precision)), max(memory), max(queue), sum(drops)
    FROM sample WHERE at >= ? AND at < ? GROUP BY berth, hour
    ON CONFLICT (berth, at) DO NOTHING`;
  return [{ sql, values: [Math.ceil(from / HOUR) * HOUR, to] }];
}

function removals(now: number): Statement[] {
  const crowded = `SELECT berth FROM event GROUP BY berth HAVING count(*) > ${MAX_EVENTS_PER_BERTH}`;
  const newest = `SELECT at FROM event AS other WHERE other.berth = event.berth
    ORDER BY at DESC LIMIT 1 OFFSET ${MAX_EVENTS_PER_BERTH}`;
  return [
    { sql: "DELETE FROM sample WHERE at < ?", values: [now - KEEP_SAMPLES] },
    { sql: "DELETE FROM hourly WHERE at < ?", values: [now - KEEP_HOURS] },
    { sql: "DELETE FROM event WHERE at < ?", values: [(now - KEEP_EVENTS) * 1000] },
    { sql: `DELETE FROM event WHERE berth IN (${crowded}) AND at <= (${newest})`, values: [] },
  ];
}

/** A tenth of the samples: those of the file's largest size come from more berths than it was made for. */
function removalOfOldest(): Statement[] {
  const oldest = "SELECT min(at) + (max(at) - min(at)) / 10 + 1 FROM sample";
  return [{ sql: `DELETE FROM sample WHERE at < (${oldest})`, values: [] }];
}
