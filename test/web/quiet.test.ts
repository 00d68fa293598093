/** When is it quiet? The best hour of a week, out of the players of some weeks. */
import { describe, expect, it } from "vitest";
import { type HourOfPlayers, quietest, quietWeek, weekClock } from "../../packages/web/src/history/quiet.ts";

const HOUR = 3_600_000;
/** A Monday, 00:00 UTC, without a change of clocks near it. */
const monday = Date.UTC(2026, 5, 1);

function weeks(count: number, players: (weekday: number, hour: number, week: number) => number): HourOfPlayers[] {
  return Array.from({ length: count * 168 }, (_, at) => {
    const mean = players(Math.floor(at / 24) % 7, at % 24, Math.floor(at / 168));
    return { at: monday + at * HOUR, mean, high: mean * 2 };
  });
}

describe("the quietest hour", () => {
  it("is the lowest mean of all weeks, and says when it comes next", () => {
    const hours = weeks(4, (day, hour, week) => (day === 2 && hour === 5 ? 1 : 10 + week));
    const now = monday + 28 * 24 * HOUR + HOUR / 2;
    const { best, enough, days, mean } = quietWeek(hours, "UTC", now);
    expect(best).toEqual({ weekday: 2, hour: 5, mean: 1, high: 2, next: monday + (28 + 2) * 24 * HOUR + 5 * HOUR });
    expect([enough, days, mean[0]?.[0]]).toEqual([true, 28, 11.5]);
  });

  it("is the middle of a stretch that is as quiet, also around midnight on Sunday", () => {
    const means = Array.from({ length: 168 }, () => 5);
    for (const at of [166, 167, 0, 1, 2, 50]) means[at] = 0;
    expect(quietest(means)).toBe(0);
    expect(quietest(Array.from({ length: 168 }, () => 3))).toBe(0);
    expect(quietest(Array.from({ length: 168 }, () => null))).toBe(undefined);
  });

  it("names two other days, and never the same one", () => {
    const hours = weeks(3, (day, hour) => (hour === 4 ? day : 20));
    const { best, others } = quietWeek(hours, "UTC", monday);
    expect([best?.weekday, others.map(({ weekday, hour }) => [weekday, hour])]).toEqual([
      0,
      [
        [1, 4],
        [2, 4],
      ],
    ]);
  });

  it("is not named after less than two weeks: one holiday would decide", () => {
    const { best, enough, others, days } = quietWeek(
      weeks(1, () => 1),
      "UTC",
      monday,
    );
    expect([best, enough, others, days]).toEqual([null, false, [], 7]);
  });

  it("is one of the host's hours, also when the clocks change", () => {
    // Berlin: UTC+2 in summer, UTC+1 from 25 October 2026 on.
    const clock = weekClock("Europe/Berlin");
    expect(clock(Date.UTC(2026, 5, 1, 3))).toBe(5);
    expect(clock(Date.UTC(2026, 10, 2, 4))).toBe(5);
    expect(clock(Date.UTC(2026, 5, 7, 23))).toBe(1);
    const hours = Array.from({ length: 28 * 24 }, (_, at) => {
      const time = Date.UTC(2026, 9, 12) + at * HOUR;
      return { at: time, mean: clock(time) === 29 ? 0 : 9, high: 9 };
    });
    expect(quietWeek(hours, "Europe/Berlin", Date.UTC(2026, 10, 9)).best).toMatchObject({
      weekday: 1,
      hour: 5,
      mean: 0,
    });
  });
});
