/** What a server's watches get when it changes all the time. */
import type { BerthRecord, LeaseRecord } from "berthd";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Session } from "../../../packages/fleet/src/sdk/session.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const lease: LeaseRecord = { id: "1", pid: 2, uid: 3 };
const berth: BerthRecord = { name: "arena", state: "occupied", descriptors: [], lease };

it("some states come at once, further ones together, and the last one always", () => {
  const session = new Session(berth, { lease, address: "", speak: async () => undefined, log: () => undefined });
  const versions: number[] = [];
  session.watch(() => versions.push(session.gameServer.version));
  for (let second = 0; second < 10; second++) {
    for (let count = 0; count < 1_000; count++) session.change(() => session.metadata.setLabel("n", String(count)));
    vi.advanceTimersByTime(1_000);
  }
  // 8 at once, then one after 100 ms; by the next second there are 8 again.
  expect(versions.length).toBeLessThanOrEqual(10 * 9);
  expect(versions.slice(0, 9)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 1_001]);
  expect(versions.at(-1)).toBe(10_001);
  session.change(() => session.metadata.setLabel("n", "last"));
  session.end();
  expect(versions.at(-1)).toBe(10_002);
  vi.advanceTimersByTime(1_000);
  expect(versions.at(-1)).toBe(10_002);
});
