import { describe, expect, it } from "vitest";
import { shadeOf, step } from "../../../../packages/web/page/model/drawing/heat.ts";
import { busiestByDay } from "../../../../packages/web/page/model/drawing/month.ts";
import { axisTexts, plotLines, timesOf, unmeasured } from "../../../../packages/web/page/model/drawing/plot-lines.ts";
import { niceTop } from "../../../../packages/web/page/model/drawing/scale.ts";
import { sparkPath } from "../../../../packages/web/page/model/drawing/spark-path.ts";
import type { Series } from "../../../../packages/web/src/api/shapes.ts";
import { madeUpBerth } from "../support/made-up.ts";
import { madeUpSeries } from "../support/made-up-detail.ts";

describe("a sparkline", () => {
  it("goes from left to right, and as high as its part of the top", () => {
    expect(sparkPath([0, 5, 10], 10, 100, 20)).toBe("M0 20L50 10L100 0");
  });
  it("stays within its box, below zero and above the top too", () => {
    expect(sparkPath([-4, 40], 10, 100, 20)).toBe("M0 20L100 0");
  });
  it("is broken where nothing was measured", () => {
    expect(sparkPath([1, null, 1], 1, 100, 20)).toBe("M0 0M100 0");
  });
  it("is closed along the bottom to be filled", () => {
    expect(sparkPath([10, 10], 10, 100, 20, true)).toBe("M0 0L100 0L100 20L0 20z");
  });
  it("of nothing is nothing, and a top of zero divides nothing", () => {
    expect(sparkPath([null, null], 10, 100, 20)).toBe("");
    expect(sparkPath([0], 0, 100, 20)).toBe("M0 20");
  });
});

it("scales end at round numbers that are not below the value", () => {
  expect([0.3, 1, 11, 148, 9.1].map(niceTop).map((n) => Number(n.toPrecision(3)))).toEqual([0.3, 1, 15, 150, 10]);
});

describe("plots", () => {
  const row = madeUpBerth("one", "cs2@mirage", { slots: 24, memory: { used: 1, limit: 3 * 2 ** 30 } });
  const series = madeUpSeries(row, "24h");
  const lines = plotLines(series);

  it("say their scale, which begins at zero", () => {
    expect(lines.map((line) => line.scale.replaceAll("\u00a0", " "))).toEqual([
      "0 to 24 slots",
      "0 to 4 MB buffer",
      "0 to 80 %",
      "0 to 3 GB allowed",
    ]);
  });

  it("have a band of the highest over 30 days only", () => {
    expect(lines.every((line) => line.high === null)).toBe(true);
    expect(plotLines(madeUpSeries(row, "30d")).every((line) => line.high !== null)).toBe(true);
  });

  it("grow where more came than there are slots", () => {
    const crowded: Series = { ...series, players: { mean: [30], high: [31], limit: 24 } };
    expect(plotLines(crowded)[0]?.top).toBe(31);
  });

  it("are not drawn where nothing was measured: it is said what is measured when", () => {
    const none = { mean: [null, null], high: [null, null], limit: null };
    const some: Series = { ...series, players: none, cpu: none };
    expect(plotLines(some).map(({ key }) => key)).toEqual(["queue", "memory"]);
    expect(plotLines(some).map(({ crashes }) => crashes.length)).toEqual([1, 0]);
    expect(unmeasured(some)).toEqual([
      "Players: measured where the berth has a query and its server answers",
      "CPU: measured where a unit of systemd runs the server",
    ]);
    expect(unmeasured(series)).toEqual([]);
  });

  it("share one axis that ends now", () => {
    const times = timesOf(series);
    expect(times).toHaveLength(144);
    expect(axisTexts(times, "24h")).toHaveLength(5);
    expect(axisTexts(times, "24h").at(-1)).toBe("now");
  });
});

it("a month is the highest of each day, and a day without measurements is none", () => {
  expect(busiestByDay([1, 2, 9, 3, 2, 1, ...Array.from({ length: 6 }, () => null)])).toEqual([9, null]);
});

describe("the map of quiet hours", () => {
  it("has its darkest shade at the highest value, and the lightest everywhere when nobody plays", () => {
    expect([0, 4, 10].map((players) => shadeOf(players, 10))).toEqual([0, 2, 6]);
    expect(shadeOf(0, 0)).toBe(0);
  });
  it("is walked by arrows, which stop at its edges and turn with it", () => {
    expect(step({ day: 1, hour: 5 }, "ArrowRight", false)).toEqual({ day: 1, hour: 6 });
    expect(step({ day: 1, hour: 5 }, "ArrowRight", true)).toEqual({ day: 2, hour: 5 });
    expect(step({ day: 0, hour: 23 }, "ArrowRight", false)).toBeUndefined();
    expect(step({ day: 0, hour: 0 }, "Home", false)).toBeUndefined();
  });
});
