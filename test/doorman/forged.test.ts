/** Questions with a forged address: what a challenge proves, and what may be sent without one. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AnswerBudget, type BudgetLimits, Challenges, networkOf } from "../../packages/doorman/src/index.ts";
import { runs } from "../support/property-runs.ts";

describe("a challenge", () => {
  const challenges = new Challenges(Buffer.alloc(16, 7));

  it("is met by its own asker for 30 to 60 seconds, and by no other", () => {
    const { value } = challenges.for("192.0.2.1 27015", 29_999);
    const met = (asker: string, now: number): boolean => challenges.for(asker, now).met(value);
    expect([met("192.0.2.1 27015", 0), met("192.0.2.1 27015", 59_999)]).toEqual([true, true]);
    const others = [met("192.0.2.1 27015", 60_000), met("192.0.2.1 27016", 0), met("192.0.2.2 27015", 0)];
    expect(others).toEqual([false, false, false]);
  });

  it("differs with the secret, and is never what clients send without one", () => {
    const other = new Challenges(Buffer.alloc(16, 8));
    expect(other.for("a", 0).value).not.toBe(challenges.for("a", 0).value);
    fc.assert(
      fc.property(fc.string(), fc.nat(), (asker, now) => {
        const { value, met } = challenges.for(asker, now);
        expect(value).toBeGreaterThan(0);
        expect(value).toBeLessThan(0xffffffff);
        expect([met(value), met(0), met(0xffffffff)]).toEqual([true, false, false]);
      }),
    );
  });

  it("needs a secret of 16 bytes", () => {
    expect(() => new Challenges(Buffer.alloc(15))).toThrow(new RangeError("a secret has at least 16 bytes"));
  });
});

describe("the budget", () => {
  const limits: BudgetLimits = { burst: 1000, perSecond: 100, totalBurst: 2500, totalPerSecond: 200, networks: 8 };
  const answer = (length: number, proven = false) => ({ bytes: new Uint8Array(length), proven });

  it("is for what an unproven answer has beyond its question only", () => {
    const budget = new AnswerBudget({ ...limits, burst: 0, totalBurst: 0 });
    expect(budget.allows("a", 10, answer(10), 0)).toBe(true);
    expect(budget.allows("a", 10, answer(11), 0)).toBe(false);
    expect(budget.allows("a", 10, answer(5000, true), 0)).toBe(true);
  });

  it("is regained with time, and one network's is not another's", () => {
    const budget = new AnswerBudget(limits);
    const ask = (network: string, now: number): boolean => budget.allows(network, 0, answer(1000), now);
    expect([ask("a", 0), ask("a", 0), ask("b", 0)]).toEqual([true, false, true]);
    expect([ask("a", 9999), ask("a", 10_000), ask("a", 10_000)]).toEqual([false, true, false]);
  });

  it("holds for all networks together, so a thousand forged ones gain nothing", () => {
    const budget = new AnswerBudget(limits);
    const sent = Array.from({ length: 1000 }, (_, at) => budget.allows(`${at}`, 0, answer(100), 0));
    expect(sent.filter(Boolean).length).toBe(25);
  });

  it("is never exceeded, in whatever order and however often is asked", () => {
    const asked = fc.record({
      network: fc.constantFrom("a", "b", "c"),
      asked: fc.nat(64),
      length: fc.nat(600),
      wait: fc.nat(500),
    });
    fc.assert(
      fc.property(fc.array(asked, { minLength: 1, maxLength: 200 }), (all) => {
        const budget = new AnswerBudget(limits);
        const beyond: Record<string, number> = { a: 0, b: 0, c: 0 };
        let now = 0;
        for (const { network, asked, length, wait } of all) {
          now += wait;
          if (!budget.allows(network, asked, answer(length), now)) continue;
          beyond[network] = (beyond[network] ?? 0) + Math.max(0, length - asked);
        }
        const sums = Object.values(beyond);
        for (const sum of sums) expect(sum).toBeLessThanOrEqual(limits.burst + (now / 1000) * limits.perSecond + 1e-6);
        const total = sums.reduce((one, other) => one + other, 0);
        expect(total).toBeLessThanOrEqual(limits.totalBurst + (now / 1000) * limits.totalPerSecond + 1e-6);
      }),
      { numRuns: runs(500) },
    );
  });

  it("counts a network of IPv4 by 24 bits, and one of IPv6 by 64", () => {
    expect(["192.0.2.1", "192.0.2.77", "::ffff:192.0.2.9"].map(networkOf)).toEqual(["192.0.2", "192.0.2", "192.0.2"]);
    expect(["2001:db8:0:1::5", "2001:0DB8:0:1:2:3:4:5", "2001:db8::1:0:0:0:9"].map(networkOf)).toEqual([
      "2001:db8:0:1",
      "2001:db8:0:1",
      "2001:db8:0:1",
    ]);
    expect(["::1", "fe80::1%eth0", "::"].map(networkOf)).toEqual(["0:0:0:0", "fe80:0:0:0", "0:0:0:0"]);
  });
});
