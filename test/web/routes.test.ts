/** What asking costs: an answer that needs the history is computed once for all who ask. */
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiRoutes, type RouteParts } from "../../packages/web/src/api/routes.ts";
import type { BerthRow, PublicBerth, Quiet } from "../../packages/web/src/api/shapes.ts";
import { History } from "../../packages/web/src/history/history.ts";
import type { Sql } from "../../packages/web/src/history/sql.ts";
import { SqliteFile } from "../../packages/web/src/history/sqlite.ts";
import { jsonBody } from "../../packages/web/src/http/answer.ts";
import { limits } from "../../packages/web/src/http/limits.ts";
import { Streams } from "../../packages/web/src/http/streams.ts";
import { Berths } from "../../packages/web/src/model/berths.ts";
import { HostFacts } from "../../packages/web/src/model/host.ts";
import { Users } from "../../packages/web/src/model/users.ts";
import { PeersThread } from "../../packages/web/src/peers/peers-thread.ts";
import { TestFolder } from "../support/broker.ts";
import { madeUpBerth } from "./page/support/made-up.ts";

const HOUR = 3_600_000;

const silent = { timeline: () => undefined, say: () => undefined };

interface TestSite {
  readonly routes: ApiRoutes;
  /** Reads of the hours. */
  readonly reads: () => number;
  show(change: Partial<BerthRow>): void;
  /** What was played an hour ago. */
  sampled(host: string, name: string, players: number): Promise<void>;
  /** Writes the summary of that hour. */
  summarised(): Promise<void>;
}

/** A site with the public berth vm/arena. */
async function siteWith(history: string | undefined): Promise<TestSite & AsyncDisposable> {
  let row = madeUpBerth("vm", "arena", { players: 1 });
  let reads = 0;
  const file = history === undefined ? undefined : await openCounting(history, () => reads++);
  const sampled = async (host: string, name: string, players: number): Promise<void> =>
    file?.sampled(Date.now() - HOUR, [{ host, name, players, cpu: 0, memory: 0, queue: 0, drops: 0 }]);
  await sampled("vm", "arena", 1);
  const users = new Users();
  const shown = { at: Date.now(), hosts: [], berths: [] };
  const site: RouteParts["site"] = {
    berths: new Berths(users),
    facts: new HostFacts("vm"),
    history: file,
    peers: new PeersThread({ places: [], tls: { ca: undefined, cert: undefined, key: undefined } }, silent),
    place: { host: "vm", address: null, users },
    publicBerths: new Map([["arena", "The Arena"]]),
    rowOf: (name) => (name === row.name ? row : undefined),
    shown,
    shownBody: jsonBody(shown),
    shownEvent: Buffer.alloc(0),
  };
  const streams = new Streams(limits);
  return {
    routes: new ApiRoutes({ site, streams, files: new Map(), metricsText: async () => "" }),
    reads: () => reads,
    sampled,
    summarised: async () => file?.sampled(Date.now(), []),
    show(change) {
      row = { ...row, ...change };
    },
    async [Symbol.asyncDispose]() {
      await file?.close();
    },
  };
}

async function openCounting(path: string, read: () => void): Promise<History> {
  const file = await SqliteFile.open(path);
  const sql: Sql = {
    all(text, values) {
      if (text.includes("FROM hourly")) read();
      return file.all(text, values);
    },
    run: (statements) => file.run(statements),
    close: () => file.close(),
  };
  return History.open(sql, () => undefined);
}

async function ask({ routes }: TestSite, address: string): Promise<{ status: number; body: string }> {
  const { pathname, searchParams } = new URL(address, "http://localhost");
  const { status, body } = await routes.answer(pathname, searchParams);
  return { status, body: body.bytes.toString() };
}

async function publicPlayers(site: TestSite): Promise<PublicBerth["players"]> {
  const { status, body } = await ask(site, "/api/v1/public/arena");
  expect(status).toBe(200);
  const { players }: PublicBerth = JSON.parse(body);
  return players;
}

describe("answers that need the history", () => {
  afterEach(() => void vi.useRealTimers());

  it("a public berth is read once in a minute, however many ask without a token", async () => {
    using folder = new TestFolder();
    await using site = await siteWith(join(folder.path, "h.db"));
    vi.useFakeTimers({ toFake: ["Date"] });
    const all = await Promise.all(Array.from({ length: 50 }, () => publicPlayers(site)));
    expect([new Set(all), site.reads()]).toEqual([new Set([1]), 1]);
    site.show({ players: 2 });
    expect(await publicPlayers(site)).toBe(1);
    vi.setSystemTime(Date.now() + 5_000);
    expect([await publicPlayers(site), site.reads()]).toEqual([2, 1]);
    vi.setSystemTime(Date.now() + 55_000);
    expect([await publicPlayers(site), site.reads()]).toEqual([2, 2]);
    site.show({ name: "renamed" });
    expect((await ask(site, "/api/v1/public/arena")).status).toBe(404);
  });

  it("a berth has one name in the question for its quiet hours", async () => {
    using folder = new TestFolder();
    await using site = await siteWith(join(folder.path, "h.db"));
    for (const more of ["/", "/x1", "/x2", "//"]) {
      const { status, body } = await ask(site, `/api/v1/quiet?berth=vm/arena${more}`);
      expect([more, status, body]).toEqual([more, 400, expect.stringContaining("berth is HOST/NAME")]);
    }
    expect(site.reads()).toBe(0);
    for (let count = 0; count < 3; count++) expect((await ask(site, "/api/v1/quiet?berth=vm/arena")).status).toBe(200);
    expect(site.reads()).toBe(1);
  });

  it("quiet hours are those of the host that was asked for, also of another one in the same history", async () => {
    using folder = new TestFolder();
    await using site = await siteWith(join(folder.path, "h.db"));
    await site.sampled("other", "arena", 7);
    await site.summarised();
    const meansOf = async (address: string): Promise<unknown> => {
      const { status, body } = await ask(site, address);
      expect(status).toBe(200);
      const { host, berth, mean }: Quiet = JSON.parse(body);
      return { host, berth, players: mean.flat().filter((one) => one !== null) };
    };
    const of = (host: string, berth: string | null, players: number) => ({ host, berth, players: [players] });
    expect(await meansOf("/api/v1/quiet")).toEqual(of("vm", null, 1));
    expect(await meansOf("/api/v1/quiet?host=vm")).toEqual(of("vm", null, 1));
    expect(await meansOf("/api/v1/quiet?host=other")).toEqual(of("other", null, 7));
    expect(await meansOf("/api/v1/quiet?berth=other/arena")).toEqual(of("other", "other/arena", 7));
    expect(await ask(site, "/api/v1/quiet?host=nowhere")).toEqual({
      status: 404,
      body: expect.stringContaining("there is no such host"),
    });
  });

  it.each(["/api/v1/quiet", "/api/v1/berths/vm/arena/series"])(
    "%s says what is missing where there is no history",
    async (address) => {
      await using site = await siteWith(undefined);
      const { status, body } = await ask(site, address);
      expect([status, JSON.parse(body)]).toEqual([
        404,
        { error: { code: "no-history", message: "berth-web keeps no history; start it with --history FILE" } },
      ]);
    },
  );
});
