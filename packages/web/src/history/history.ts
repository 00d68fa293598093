/**
 * The history of berths: what was measured and what happened, kept for weeks. It never fails its callers: what the
 * database refuses is remembered as trouble, and the next write is a new try.
 */
import type { TimelineKind } from "../api/history-shapes.ts";
import { type BerthId, type Happened, keyOf } from "./event-limit.ts";
import { KEEP_SAMPLES, schema } from "./schema.ts";
import { insertRows, numberOf, type Sql, textOf } from "./sql.ts";
import { removals, removalsWhenFull, summaries } from "./thinning.ts";

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
    try {
      const extras = (await sql.extras?.()) ?? [];
      if (extras.length > 0) await sql.run(extras);
    } catch (error) {
      tell(`the history has no hypertables of TimescaleDB, and is kept without: ${messageOf(error)}`);
    }
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

  /** Events, as the feed of timelines limits them. */
  happened(events: readonly Happened[]): Promise<void> {
    this.#wait(events);
    return this.#queue(() => this.#writeEvents());
  }

  /** Samples of one moment, in milliseconds since 1970. */
  sampled(at: number, samples: readonly Sample[]): Promise<void> {
    return this.#queue(async () => {
      const seconds = Math.floor(at / 1000);
      // First, because it frees the space that the writes below may need.
      await this.#thinOut(seconds);
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
      await this.#writeEvents();
    });
  }

  async #thinOut(seconds: number): Promise<void> {
    const hour = Math.floor(seconds / HOUR) * HOUR;
    if (hour === this.#hour) return;
    await this.sql.run(await removals(this.sql, seconds));
    // The first time it may be a restart after hours.
    const from = this.#hour === 0 ? seconds - KEEP_SAMPLES : this.#hour - HOUR;
    await this.sql.run(summaries(from, hour, seconds));
    this.#hour = hour;
  }

  /** When too many wait, the oldest are dropped. */
  #wait(events: readonly Happened[]): void {
    this.#waiting = [...this.#waiting, ...events].slice(-MAX_WAITING);
  }

  async #writeEvents(): Promise<void> {
    const events = this.#waiting;
    if (events.length === 0) return;
    // More may come meanwhile.
    this.#waiting = [];
    try {
      await this.#know(events);
      const rows = events.map((one) => {
        const { at, kind, text, detail } = one.event;
        return [this.idOf(one) ?? 0, at, kind satisfies TimelineKind, text, detail];
      });
      await this.sql.run(insertRows("event", ["berth", "at", "kind", "text", "detail"], rows));
    } catch (error) {
      this.#waiting = [...events, ...this.#waiting].slice(-MAX_WAITING);
      throw error;
    }
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
        const trouble = messageOf(error);
        if (this.#trouble === undefined) this.#tell(`the history cannot be written, and is tried again: ${trouble}`);
        this.#trouble = trouble;
        // The largest size is reached, if it is not the disk that is full: then this is refused too.
        if (/full/.test(trouble)) await this.#makeRoom().catch(() => undefined);
      }
    });
    return this.#last;
  }

  async #makeRoom(): Promise<void> {
    await this.sql.run(await removalsWhenFull(this.sql));
  }

  async close(): Promise<void> {
    await this.#queue(() => this.#writeEvents());
    await this.sql.close();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function whole(value: number | null): number | null {
  return value === null ? null : Math.round(value);
}
