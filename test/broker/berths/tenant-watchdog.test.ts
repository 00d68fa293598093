/** A tenant's watchdog while nobody reads the tenant's messages: another broker takes over. */
import { constants } from "node:os";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Lease } from "../../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../../src/broker/berths/berth/tenant-process.ts";
import { TenantWatchdog } from "../../../src/broker/berths/berth/tenant-watchdog.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { leaksNothing } from "../../support/fds.ts";
import { scripted } from "../../support/scripted-native.ts";

const { SIGABRT, SIGKILL } = constants.signals;

leaksNothing();
beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A lease with a watchdog of one second, and the signals that its tenant got. */
function watched(): { lease: Lease; signals: number[]; said: string[] } {
  const { pid } = process;
  const signals: number[] = [];
  const said: string[] = [];
  const sys = scripted({
    pidfdSignal: (_, signal) => {
      signals.push(signal);
      return 0;
    },
  });
  const lease = new Lease(
    { pid, uid: 0, unit: undefined },
    TenantProcess.watch(FdHandle.adopt(native.pidfdOpen(pid)), sys),
    () => undefined,
  );
  lease.watchdog = new TenantWatchdog("arena", lease, 1000, (_, message) => said.push(message));
  return { lease, signals, said };
}

it("stands still while the lease is paused, and then gives the tenant all its time again", () => {
  const { lease, signals, said } = watched();
  vi.advanceTimersByTime(999);
  lease.pause();
  vi.advanceTimersByTime(60_000);
  expect([signals, said]).toEqual([[], []]);
  lease.resume();
  vi.advanceTimersByTime(999);
  expect(signals).toEqual([]);
  vi.advanceTimersByTime(1);
  expect([signals, said]).toEqual([[SIGABRT], [expect.stringContaining("has not sent WATCHDOG=1 for 1 s")]]);
  lease.end();
});

it("goes on to end a tenant that it had begun to end before the pause", () => {
  const { lease, signals } = watched();
  vi.advanceTimersByTime(1000);
  lease.pause();
  vi.advanceTimersByTime(10_000);
  expect(signals).toEqual([SIGABRT, SIGKILL]);
  lease.end();
});

it("ends with the lease", () => {
  const { lease, signals } = watched();
  lease.end();
  vi.advanceTimersByTime(60_000);
  expect(signals).toEqual([]);
});
