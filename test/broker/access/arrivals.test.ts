/** How often each user may connect. */
import { expect, it } from "vitest";
import { Arrivals } from "../../../src/broker/access/limits/arrivals.ts";
import { ARRIVALS } from "../../../src/broker/access/limits/limits.ts";

const { burst, perSecond } = ARRIVALS;

/** How many of so many connections come in. */
function admitted(arrivals: Arrivals, account: number, count: number, now: number): number {
  return Array.from({ length: count }, () => arrivals.admit(account, now)).filter((one) => one).length;
}

it("a user may connect often at once, then so often each second, and others as before", () => {
  const arrivals = new Arrivals();
  expect(admitted(arrivals, 1, burst + 10, 0)).toBe(burst);
  expect(admitted(arrivals, 2, 10, 0)).toBe(10);
  expect(admitted(arrivals, 1, burst, 500)).toBe(perSecond / 2);
  expect(admitted(arrivals, 1, 2 * burst, 1_000_000)).toBe(burst);
});

it("10,000 users are not all remembered, but a flood that goes on is", () => {
  const arrivals = new Arrivals();
  expect(admitted(arrivals, 1, burst, 0)).toBe(burst);
  for (let account = 2; account < 10_000; account++) {
    arrivals.admit(account, 0);
    if (account % 1000 === 0) expect(arrivals.admit(1, 0)).toBe(false);
  }
  expect(arrivals.admit(1, 0)).toBe(false);
});
