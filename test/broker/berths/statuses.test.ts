/** What servers say of themselves, with a clock of the test's own. */
import { expect, it } from "vitest";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import { BerthEvents } from "../../../src/broker/berths/berth/berth-events.ts";
import { Statuses } from "../../../src/broker/berths/reports/statuses.ts";
import { socket, berth as specOf } from "../../config/fixture.ts";
import { Clock } from "../../support/clock.ts";
import { leaksNothing } from "../../support/fds.ts";
import { ownLease } from "../../support/own-lease.ts";

leaksNothing();

it("10,000 statuses of one second are told twice: the first at once, and the latest", () => {
  const clock = new Clock();
  const events = new BerthEvents();
  const berth = new Berth(specOf({ "etc/a.toml": socket }), []);
  const lease = ownLease();
  berth.lease = lease;
  const statuses = new Statuses(events, clock);
  const told: (string | undefined)[] = [];
  events.observe((event) => event === "status" && told.push(lease.status));
  for (let n = 0; n < 10_000; n++) statuses.put(berth, lease, `status ${n}`);
  expect(told).toEqual(["status 0"]);
  expect(lease.status).toBe("status 9999");
  clock.pass(1000);
  expect(told).toEqual(["status 0", "status 9999"]);
  statuses.put(berth, lease, "status 9999");
  clock.pass(5000);
  statuses.put(berth, lease, "");
  expect(told).toEqual(["status 0", "status 9999", undefined]);
  // The tenant has gone: nothing is told of it any more.
  statuses.put(berth, lease, "late");
  berth.lease = undefined;
  events.change("released", berth);
  clock.pass(5000);
  expect(told).toHaveLength(3);
  expect(clock.timers).toBe(0);
  lease.end();
});
