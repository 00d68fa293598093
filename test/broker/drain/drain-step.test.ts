/** What a drain does next, for every course of players, traffic and time. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DrainLimits, drainStep, type KnownPlayers } from "../../../src/broker/drain/drain-step.ts";
import { runs } from "../../support/property-runs.ts";

const limits: DrainLimits = { quiet: 60_000, look: 5000 };
const nobody: KnownPlayers = { count: 0, isCurrent: true };
const some: KnownPlayers = { count: 3, isCurrent: true };

describe("a drain", () => {
  const at = { now: 100_000, deadline: undefined, lastSeen: 99_000, players: undefined };

  it("stops at once where the server says that nobody plays, whatever the traffic", () => {
    expect(drainStep({ ...at, players: nobody }, limits)).toEqual({ kind: "stop", why: "empty" });
  });

  it("waits while somebody plays, although there has been no traffic", () => {
    expect(drainStep({ ...at, lastSeen: 0, players: some }, limits)).toEqual({ kind: "wait", milliseconds: 5000 });
  });

  it("does not believe a report of nobody from before it began, but the traffic", () => {
    const players = { count: 0, isCurrent: false };
    expect(drainStep({ ...at, players }, limits).kind).toBe("wait");
    expect(drainStep({ ...at, players, lastSeen: 40_000 }, limits)).toEqual({ kind: "stop", why: "empty" });
  });

  it("stops after a minute without traffic where nothing else is known, and not before", () => {
    expect(drainStep({ ...at, lastSeen: 40_001 }, limits).kind).toBe("wait");
    expect(drainStep({ ...at, lastSeen: 40_000 }, limits)).toEqual({ kind: "stop", why: "empty" });
  });

  it("waits for ever where nothing can be known and there is no deadline", () => {
    expect(drainStep({ ...at, lastSeen: undefined }, limits)).toEqual({ kind: "wait", milliseconds: 5000 });
  });

  it("stops at the deadline, although somebody plays", () => {
    const late = { ...at, deadline: 100_000, players: some };
    expect(drainStep(late, limits)).toEqual({ kind: "stop", why: "deadline" });
    expect(drainStep({ ...late, deadline: 100_400 }, limits)).toEqual({ kind: "wait", milliseconds: 400 });
  });
});

/** What may happen while it waits: somebody tells of players, or a packet comes. */
const happening = fc.record({
  after: fc.integer({ min: 0, max: 90_000 }),
  players: fc.option(fc.record({ count: fc.nat({ max: 3 }), isCurrent: fc.boolean() }), { nil: undefined }),
  isTraffic: fc.boolean(),
});

it("every drain ends at its deadline or when nobody plays, never else, and never looks later than it says", () => {
  const course = fc.record({
    deadline: fc.option(fc.integer({ min: 1, max: 600_000 }), { nil: undefined }),
    canSee: fc.boolean(),
    happenings: fc.array(happening, { maxLength: 20 }),
  });
  fc.assert(
    fc.property(course, ({ deadline, canSee, happenings }) => {
      let [now, seen] = [0, 0];
      let players: KnownPlayers | undefined;
      const coming = [...happenings];
      let next = coming.shift();
      let due = next?.after ?? Number.POSITIVE_INFINITY;
      // Twenty happenings of 90 s at most, and a minute of silence, looked at each 5 s.
      for (let looks = 0; looks < 1000; looks++) {
        const step = drainStep({ now, deadline, lastSeen: canSee ? seen : undefined, players }, limits);
        if (deadline !== undefined) expect(now).toBeLessThanOrEqual(deadline);
        if (step.kind === "stop") {
          if (step.why === "deadline") {
            expect(now).toBe(deadline);
            return;
          }
          expect(players?.count ?? 0).toBe(0);
          expect(players?.isCurrent === true || (canSee && now - seen >= limits.quiet)).toBe(true);
          return;
        }
        expect(step.milliseconds).toBeGreaterThan(0);
        expect(step.milliseconds).toBeLessThanOrEqual(limits.look);
        now += step.milliseconds;
        while (now >= due) {
          if (next?.isTraffic) seen = now;
          players = next?.players;
          next = coming.shift();
          due += next?.after ?? Number.POSITIVE_INFINITY;
        }
      }
      // Only one without a deadline can wait for ever: somebody plays on, or nobody can know.
      expect(deadline).toBeUndefined();
      expect((players?.count ?? 0) > 0 || !canSee).toBe(true);
    }),
    { numRuns: runs(2000) },
  );
});
