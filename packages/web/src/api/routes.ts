/** Which address has which answer. */
import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { quietWeek } from "../history/quiet.ts";
import { hoursOf, monthOf, seriesOf, timelineOf } from "../history/series.ts";
import { type Answer, Body, jsonAnswer, jsonBody, refusal } from "../http/answer.ts";
import { headersOf } from "../http/headers.ts";
import type { PageFile } from "../http/page-files.ts";
import type { Routes } from "../http/server.ts";
import type { Streams } from "../http/streams.ts";
import type { Known } from "../model/known.ts";
import { detailOf, publicOf } from "../model/row.ts";
import { packageFolder } from "../package-folder.ts";
import type { Site } from "../site.ts";
import { Kept } from "./kept.ts";
import type { BerthRow, PublicBerth, Quiet, QuietHour } from "./shapes.ts";

const API = "/api/v1";
/** The most events of one answer. */
const MAX_EVENTS = 200;
/** How long the quietest hour is good for. */
const QUIET_KEEP_MS = 10 * 60_000;
/** How long the body of a public berth is good for, and its plot of 30 days: anybody may ask for them. */
const PUBLIC_KEEP_MS = 5_000;
const MONTH_KEEP_MS = 60_000;

/** What the answers are made of. */
type ShownSite = Pick<
  Site,
  "berths" | "facts" | "history" | "peers" | "place" | "publicBerths" | "rowOf" | "shown" | "shownBody" | "shownEvent"
>;

export interface RouteParts {
  readonly site: ShownSite;
  readonly streams: Streams;
  readonly files: ReadonlyMap<string, PageFile>;
  metricsText(): Promise<string>;
}

const openApi: Body = new Body(readFileSync(join(packageFolder, "openapi.json")));

export class ApiRoutes implements Routes {
  readonly #parts: RouteParts;
  readonly #quiet = new Kept<Quiet>(QUIET_KEEP_MS);
  readonly #publicBodies = new Kept<Body>(PUBLIC_KEEP_MS);
  readonly #months = new Kept<PublicBerth["month"]>(MONTH_KEEP_MS);

  constructor(parts: RouteParts) {
    this.#parts = parts;
  }

  isPublic(path: string): boolean {
    if (path === "/healthz" || path.startsWith("/p/") || path.startsWith(`${API}/public/`)) return true;
    // The files hold no data, and the public page is made of some of them.
    return path !== "/" && this.#parts.files.has(path);
  }

  stream(path: string, response: ServerResponse, address: string): boolean {
    const { site, streams } = this.#parts;
    if (path !== `${API}/events`) return false;
    return streams.add(response, address, () => site.shownEvent);
  }

  async answer(path: string, query: URLSearchParams): Promise<Answer> {
    const file = this.#parts.files.get(path);
    if (file !== undefined) return { status: 200, headers: file.headers, body: new Body(file.bytes, file.zipped) };
    if (path === "/healthz") return this.#health();
    if (path === "/metrics") return this.#metrics();
    if (path.startsWith("/p/")) return this.#publicPage(path.slice(3));
    if (!path.startsWith(`${API}/`)) return nothingHere();
    const [what = "", host = "", name = "", part, ...rest] = path.slice(API.length + 1).split("/");
    if (rest.length > 0) return nothingHere();
    const depth = path.slice(API.length + 1).split("/").length;
    if (what === "overview" && depth === 1) return jsonAnswer(this.#parts.site.shownBody);
    if (what === "openapi.json" && depth === 1) return jsonAnswer(openApi);
    if (what === "quiet" && depth === 1) return this.#quietAnswer(query);
    if (what === "events" && depth === 1) return refusal(503, "too-many", "too many streams are open; close some");
    if (what === "public" && depth === 2) return this.#public(host);
    if (what !== "berths" || depth < 3) return nothingHere();
    return this.#berth(host, name, part, query);
  }

  async #berth(host: string, name: string, part: string | undefined, query: URLSearchParams): Promise<Answer> {
    const { site } = this.#parts;
    if (site.peers.has(host)) {
      if (part !== undefined && part !== "series" && part !== "timeline") return nothingHere();
      return site.peers.berth(host, name, part, query);
    }
    const row = host === site.place.host ? site.rowOf(name) : undefined;
    const known = site.berths.get(name);
    // The history also answers for a berth that has been removed.
    const isRemembered = site.history?.idOf({ host, name }) !== undefined;
    if (part === undefined) {
      return row === undefined || known === undefined
        ? noBerth()
        : jsonAnswer(jsonBody(await this.#detail(known, row)));
    }
    if (row === undefined && !isRemembered) return noBerth();
    if (site.history === undefined) return noHistory();
    const now = Date.now();
    if (part === "series") {
      const range = query.get("range") ?? "24h";
      if (range !== "24h" && range !== "30d") return refusal(400, "bad-request", "range is 24h or 30d");
      const queueLimit = known?.measured?.queueLimit ?? null;
      const scales = { slots: row?.slots ?? null, memoryLimit: row?.memory?.limit ?? null, queueLimit };
      return jsonAnswer(jsonBody(await seriesOf(site.history, { host, name }, range, now, scales)));
    }
    if (part !== "timeline") return nothingHere();
    const limit = numberIn(query, "limit", 50);
    const before = numberIn(query, "before", Number.MAX_SAFE_INTEGER);
    if (limit === undefined || limit < 1 || before === undefined) {
      return refusal(400, "bad-request", "limit and before are whole numbers above 0");
    }
    return jsonAnswer(jsonBody(await timelineOf(site.history, { host, name }, before, Math.min(limit, MAX_EVENTS))));
  }

  async #detail(known: Known, row: BerthRow) {
    const { site } = this.#parts;
    let quietest: QuietHour | null = null;
    if (site.history !== undefined) quietest = (await this.#quietOf(row.host, row.name)).best;
    const publicPage = site.publicBerths.has(row.name) ? `/p/${row.name}` : null;
    return detailOf(known, row, { quietest, publicPage }, Date.now());
  }

  /** Of one berth, of all of one host, or of all of this host. A history in PostgreSQL also has other hosts. */
  async #quietAnswer(query: URLSearchParams): Promise<Answer> {
    const { history, peers, place } = this.#parts.site;
    const berth = query.get("berth");
    const [host = "", name = null, ...rest] = berth?.split("/") ?? [query.get("host") ?? place.host];
    if (rest.length > 0 || (berth !== null && name === null)) return refusal(400, "bad-request", "berth is HOST/NAME");
    if (peers.has(host)) return peers.quiet(host, name);
    if (history === undefined) return noHistory();
    if (host !== place.host && history.idsOf(host).length === 0) return name === null ? noHost() : noBerth();
    if (name !== null && !this.#isKnown(host, name)) return noBerth();
    return jsonAnswer(jsonBody(await this.#quietOf(host, name)));
  }

  /** Also of a berth that has been removed, by the history. */
  #isKnown(host: string, name: string): boolean {
    const { site } = this.#parts;
    const isHere = host === site.place.host && site.rowOf(name) !== undefined;
    return isHere || site.history?.idOf({ host, name }) !== undefined;
  }

  /** `name` is null for all berths of the host. Computed at most every ten minutes: the hours change slowly. */
  #quietOf(host: string, name: string | null): Promise<Quiet> {
    return this.#quiet.of(`${host}/${name ?? ""}`, () => this.#computeQuiet(host, name, Date.now()));
  }

  async #computeQuiet(host: string, name: string | null, now: number): Promise<Quiet> {
    const { history, facts } = this.#parts.site;
    const { zone } = facts;
    const hours = history === undefined ? [] : await hoursOf(history, host, name);
    const week = quietWeek(hours, zone, now);
    const remedy = name === null || week.best === null ? null : restartThen(name, week.best.next, zone);
    return { berth: name === null ? null : `${host}/${name}`, host, zone, ...week, remedy };
  }

  async #public(name: string): Promise<Answer> {
    const { site } = this.#parts;
    const title = site.publicBerths.get(name);
    const row = site.rowOf(name);
    if (title === undefined || row === undefined) return nothingHere();
    return jsonAnswer(await this.#publicBodies.of(name, () => this.#computePublic(row, title)));
  }

  async #computePublic(row: BerthRow, title: string): Promise<Body> {
    const { site } = this.#parts;
    const { history } = site;
    const at = site.facts.unreachableSince ?? site.shown.at;
    const month = history === undefined ? [] : await this.#months.of(row.name, () => monthOf(history, row, Date.now()));
    return jsonBody(publicOf(row, title, month, at));
  }

  #publicPage(name: string): Answer {
    const file = this.#parts.files.get("/p");
    if (file === undefined || !this.#parts.site.publicBerths.has(name)) return nothingHere();
    return { status: 200, headers: file.headers, body: new Body(file.bytes, file.zipped) };
  }

  #health(): Answer {
    const { site } = this.#parts;
    const isWell = site.facts.unreachableSince === null;
    const text = isWell ? "ok\n" : "the broker does not answer\n";
    return {
      status: isWell ? 200 : 503,
      headers: headersOf("text/plain; charset=utf-8"),
      body: new Body(Buffer.from(text)),
    };
  }

  async #metrics(): Promise<Answer> {
    const text = await this.#parts.metricsText();
    return {
      status: 200,
      headers: headersOf("text/plain; version=0.0.4; charset=utf-8"),
      body: new Body(Buffer.from(text)),
    };
  }
}

function nothingHere(): Answer {
  return refusal(404, "not-found", "there is nothing at this address");
}

function noHistory(): Answer {
  return refusal(404, "no-history", "berth-web keeps no history; start it with --history FILE");
}

function noBerth(): Answer {
  return refusal(404, "not-found", "there is no such berth");
}

function noHost(): Answer {
  return refusal(404, "not-found", "there is no such host");
}

/** Undefined for what is no whole number. */
function numberIn(query: URLSearchParams, name: string, otherwise: number): number | undefined {
  const text = query.get(name);
  if (text === null) return otherwise;
  return /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}

/** systemd-run(1) takes local time. */
function restartThen(name: string, at: number, zone: string) {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" });
  return {
    what: "Restart it then",
    command: `systemd-run --on-calendar="${format.format(at)}" berth restart ${name}`,
  };
}
