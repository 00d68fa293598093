import { describe, expect, it } from "vitest";
import { byDay, dayTitle, MOST_EVENTS, withEvent } from "../../../../packages/web/page/model/days.ts";
import { queueTrouble } from "../../../../packages/web/page/model/sockets.ts";
import type { SocketFacts, TimelineEvent } from "../../../../packages/web/src/api/shapes.ts";

const now = new Date(2026, 10, 29, 0, 30).getTime();
const HOUR = 3_600_000;
const event = (at: number, text: string = "x"): TimelineEvent => ({ at, kind: "lease", text, detail: null });

describe("events", () => {
  it("are grouped by the reader's days", () => {
    const days = byDay([event(now), event(now - HOUR), event(now - 2 * HOUR), event(now - 60 * HOUR)], now);
    expect(days.map((day) => [day.title, day.events.length])).toEqual([
      ["Today", 1],
      ["Yesterday", 2],
      ["Thursday 26 November", 1],
    ]);
  });
  it("of the future, by another clock, are of today", () => {
    expect(dayTitle(now + 30 * HOUR, now)).toBe("Today");
  });
  it("that come twice are shown once, the newest first", () => {
    const known = [event(5), event(3)];
    expect(withEvent(known, event(5))).toBe(known);
    expect(withEvent(known, event(4)).map(({ at }) => at)).toEqual([5, 4, 3]);
  });
  it("are kept up to a limit, which the oldest leave", () => {
    const full = Array.from({ length: MOST_EVENTS }, (_, at) => event(MOST_EVENTS - at));
    const after = withEvent(full, event(MOST_EVENTS + 1));
    expect([after.length, after[0]?.at, after.at(-1)?.at]).toEqual([MOST_EVENTS, MOST_EVENTS + 1, 2]);
  });
});

describe("receive queues", () => {
  const socket = (bytes: number, drops: number | null): SocketFacts => ({
    name: "game",
    address: "udp://0.0.0.0:1",
    queue: { bytes, limit: 100 },
    drops,
    backlog: null,
  });
  it("are not spoken of while all is well", () => {
    expect(queueTrouble([socket(10, 0), socket(0, null)])).toBeNull();
    expect(queueTrouble([])).toBeNull();
  });
  it("say that they are full, and what all of them have lost", () => {
    expect(queueTrouble([socket(95, 1200), socket(0, 4)])).toBe("full, 1,204 packets lost");
    expect(queueTrouble([socket(0, 4)])).toBe("4 packets lost");
  });
});
