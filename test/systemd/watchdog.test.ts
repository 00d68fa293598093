import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { StatusLine } from "../../src/systemd/status-line.ts";
import { startWatchdog, watchdogInterval } from "../../src/systemd/watchdog.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("watchdogInterval, as sd_watchdog_enabled(3)", () => {
  it.each([
    [{}, undefined],
    [{ WATCHDOG_USEC: "30000000" }, 30_000],
    [{ WATCHDOG_USEC: "30000000", WATCHDOG_PID: String(process.pid) }, 30_000],
    [{ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "1" }, undefined],
    [{ WATCHDOG_PID: String(process.pid) }, undefined],
  ])("%j is %s", (env, interval) => {
    expect(watchdogInterval(env)).toBe(interval);
  });

  it.each([{ WATCHDOG_USEC: "0" }, { WATCHDOG_USEC: "soon" }, { WATCHDOG_USEC: "1", WATCHDOG_PID: "me" }])(
    "%j is an error",
    (env) => {
      expect(() => watchdogInterval(env)).toThrow(expect.objectContaining({ code: "USAGE" }));
    },
  );
});

describe("the watchdog", () => {
  it("is sent twice in an interval, not while the program is unhealthy, and not after the end", () => {
    const told: string[] = [];
    let healthy = true;
    const watchdog = startWatchdog(
      1000,
      () => healthy,
      (state) => told.push(state),
    );
    vi.advanceTimersByTime(1000);
    expect(told).toEqual(["WATCHDOG=1", "WATCHDOG=1"]);
    healthy = false;
    vi.advanceTimersByTime(2000);
    expect(told).toHaveLength(2);
    healthy = true;
    vi.advanceTimersByTime(500);
    expect(told).toHaveLength(3);
    watchdog[Symbol.dispose]();
    vi.advanceTimersByTime(5000);
    expect(told).toHaveLength(3);
  });
});

describe("the status line", () => {
  it("sends many changes as one, and no change that restores the old text", () => {
    const told: string[] = [];
    let taken = 0;
    using status = new StatusLine(
      () => `${taken} taken`,
      (state) => told.push(state),
    );
    expect(status.take()).toBe("STATUS=0 taken");
    for (taken = 1; taken < 50; taken++) status.changed();
    vi.advanceTimersByTime(10_000);
    expect(told).toEqual(["STATUS=50 taken"]);
    taken = 51;
    status.changed();
    taken = 50;
    status.changed();
    vi.advanceTimersByTime(10_000);
    expect(told).toHaveLength(1);
  });
});
