/** Reports of players, with a clock of the test's own. */
import { expect, it } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { BerthEvents } from "../../../src/broker/berths/berth/berth-events.ts";
import { Reports } from "../../../src/broker/berths/reports/reports.ts";
import { socket, berth as specOf } from "../../config/fixture.ts";
import { Clock } from "../../support/clock.ts";
import { ownLease } from "../../support/own-lease.ts";

class World implements Disposable {
  readonly clock: Clock = new Clock();
  readonly events: BerthEvents = new BerthEvents();
  readonly berth: Berth = new Berth(specOf({ "etc/a.toml": socket }), []);
  readonly told: (number | undefined)[] = [];
  readonly reports: Reports = new Reports(this.events, this.clock);

  constructor() {
    this.events.observe((event, { players }) => event === "players" && this.told.push(players?.count));
    this.berth.lease = ownLease();
  }

  [Symbol.dispose](): void {
    this.reports.close();
    this.berth.lease?.end();
  }
}

it("a change is told at once, further ones of the same second together, and what is the same not at all", () => {
  using world = new World();
  const { berth, clock, reports, told } = world;
  reports.put(berth, { count: 1 });
  expect(told).toEqual([1]);
  for (const count of [2, 3, 4]) {
    clock.pass(200);
    expect(reports.put(berth, { count })).toBeUndefined();
  }
  expect(told).toEqual([1]);
  expect(berth.players).toEqual({ count: 4, at: 1_000_600_000 });
  clock.pass(400);
  expect(told).toEqual([1, 4]);
  clock.pass(30_000);
  reports.put(berth, { count: 4 });
  clock.pass(5000);
  expect(told).toEqual([1, 4]);
  reports.put(berth, { count: 4, map: "q3dm17" });
  expect(told).toEqual([1, 4, 4]);
});

it("a report is forgotten after 60 s without another, or when it says that nobody knows any more", () => {
  using world = new World();
  const { berth, clock, reports, told } = world;
  reports.put(berth, { count: 1 });
  clock.pass(59_000);
  reports.put(berth, { count: 1 });
  clock.pass(59_999);
  expect(berth.players?.count).toBe(1);
  clock.pass(1);
  expect(berth.players).toBeUndefined();
  expect(told).toEqual([1, undefined]);
  reports.put(berth, { count: 2 });
  clock.pass(2000);
  reports.put(berth, undefined);
  expect(berth.players).toBeUndefined();
  expect(told).toEqual([1, undefined, 2, undefined]);
  clock.pass(60_000);
  expect(told).toEqual([1, undefined, 2, undefined]);
  expect(clock.timers).toBe(0);
});

it("a report is forgotten with its lease, before anybody is told that this has ended", () => {
  using world = new World();
  const { berth, clock, events, reports, told } = world;
  const seen: unknown[] = [];
  events.observe((event, { players }) => event === "released" && seen.push(players));
  reports.put(berth, { count: 1 });
  clock.pass(200);
  reports.put(berth, { count: 2 });
  berth.lease?.end();
  berth.lease = undefined;
  events.change("released", berth);
  expect(seen).toEqual([undefined]);
  expect(clock.timers).toBe(0);
  clock.pass(100_000);
  expect(told).toEqual([1]);
  expect(reports.put(berth, { count: 1 })).toEqual({ kind: "no-tenant", berth: "a" });
});

it("two reports within 100 ms: the second is refused, and changes nothing", () => {
  using world = new World();
  const { berth, clock, reports } = world;
  reports.put(berth, { count: 1 });
  clock.pass(99);
  expect(reports.put(berth, { count: 2 })).toMatchObject({ kind: "limit", limit: "reports" });
  expect(berth.players?.count).toBe(1);
  clock.pass(1);
  expect(reports.put(berth, { count: 2 })).toBeUndefined();
});
