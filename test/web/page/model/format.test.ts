import { describe, expect, it } from "vitest";
import {
  asOf,
  bytes,
  count,
  countdown,
  duration,
  mean,
  plural,
  shortDuration,
} from "../../../../packages/web/page/model/format.ts";
import { size } from "../../../../packages/web/src/model/text.ts";

const HOUR = 3_600_000;
const plain = (text: string): string => text.replaceAll("\u00a0", " ");

describe("durations", () => {
  it.each([
    [-5000, "0 s"],
    [12_900, "12 s"],
    [60_000, "1 min"],
    [3 * HOUR + 9 * 60_000, "3 h 09 min"],
    [98 * HOUR, "4 d 2 h"],
  ])("%i ms", (ms, text) => expect(plain(duration(ms))).toBe(text));

  it("leave out the minutes of hours in rows, and nothing of days", () => {
    expect(plain(shortDuration(3 * HOUR + 9 * 60_000))).toBe("3 h");
    expect(plain(shortDuration(98 * HOUR))).toBe("4 d 2 h");
    expect(plain(shortDuration(59_000))).toBe("59 s");
  });

  it("break at no place between a number and its unit", () => {
    expect(duration(98 * HOUR)).toBe("4\u00a0d 2\u00a0h");
  });
});

describe("a countdown", () => {
  it.each([
    [252_000, "4:12"],
    [251_001, "4:12"],
    [3_844_000, "1:04:04"],
    [-1, "0:00"],
  ])("%i ms", (ms, text) => expect(countdown(ms)).toBe(text));
});

it("shows a limit of 4 GiB as 4 GB, as its unit says 4G", () => {
  expect([4 * 2 ** 30, 1.5 * 2 ** 30, 300 * 2 ** 20, 0].map((n) => plain(bytes(n)))).toEqual([
    "4 GB",
    "1.5 GB",
    "300 MB",
    "0 B",
  ]);
});

it.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1023.6 * 1024, "1 MB"],
  [1024 ** 2, "1 MB"],
  [300 * 1024 ** 2, "300 MB"],
  [1.5e9, "1.4 GB"],
  [9.96 * 1024 ** 3, "10 GB"],
  [3 * 1024 ** 4, "3 TB"],
  [5000 * 1024 ** 4, "5000 TB"],
])("%d bytes are one size in a row of the page and in a sentence of the server", (n, text) => {
  expect([plain(bytes(n)), size(n)]).toEqual([text, text]);
});

it("shows small means with a digit, and none as 0", () => {
  expect([0, 0.04, 0.3, 0.96, 12.4].map(mean)).toEqual(["0", "0", "0.3", "1", "12"]);
});

it("counts in thousands, and in words", () => {
  expect(count(4917)).toBe("4,917");
  expect([plural(1, "problem"), plural(3, "problem"), plural(0, "berth")]).toEqual([
    "1 problem",
    "3 problems",
    "0 berths",
  ]);
});

it("names the day of a time that is not of today", () => {
  const noon = new Date(2026, 10, 29, 12, 2).getTime();
  expect(asOf(noon, noon + HOUR)).toBe("12:02");
  expect(asOf(noon, noon + 24 * HOUR)).toBe("29 Nov 12:02");
});
