/** What the connections of each user may hold, together with all others. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { MemoryPool } from "../../../src/broker/access/limits/memory-pool.ts";

it("all connections of one user share its limit, and get back what they give", () => {
  const pool = new MemoryPool({ user: 100, all: 1000 });
  const [one, two, other] = [pool.of(1), pool.of(1), pool.of(2)];
  expect(one.take(60)).toBe(true);
  expect(two.take(60)).toBe(false);
  expect(other.take(60)).toBe(true);
  one.give(20);
  expect(two.take(60)).toBe(true);
});

it("when everything is in use, those below an equal share still get some", () => {
  const pool = new MemoryPool({ user: 100, all: 200 });
  expect(pool.of(1).take(100)).toBe(true);
  expect(pool.of(2).take(100)).toBe(true);
  expect(pool.of(3).take(70)).toBe(false);
  expect(pool.of(3).take(60)).toBe(true);
  expect(pool.of(3).take(10)).toBe(false);
  expect(pool.of(1).take(1)).toBe(false);
});

it("whatever is taken and given back: no user is above its limit, and nothing stays behind", () => {
  const step = fc.record({ account: fc.integer({ min: 0, max: 5 }), bytes: fc.integer({ min: 1, max: 60 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const pool = new MemoryPool({ user: 100, all: 150 });
      const taken = steps.filter(({ account, bytes }) => pool.of(account).take(bytes));
      for (let account = 0; account <= 5; account++) {
        const own = taken.filter((one) => one.account === account).reduce((sum, { bytes }) => sum + bytes, 0);
        expect(own).toBeLessThanOrEqual(100);
      }
      for (const { account, bytes } of taken) pool.of(account).give(bytes);
      expect(pool.of(9).take(100)).toBe(true);
      expect(pool.of(8).take(50)).toBe(true);
    }),
  );
});
