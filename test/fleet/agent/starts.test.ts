/** When the agent starts servers: again after which pause, how many at once, the first time only with the lease. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Starts } from "../../../packages/fleet/src/agent/starts.ts";

const never = new AbortController().signal;
let unstarted: Set<string>;
let started: string[];
let end: Map<string, (why?: string) => void>;
let said: string[];
let hasLease: boolean;
let ends: number;
let starts: Starts;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
  [started, end, said, hasLease, ends] = [[], new Map(), [], true, 0];
  const start = (berth: string): Promise<string | undefined> => {
    started.push(berth);
    return new Promise((resolve) => end.set(berth, resolve));
  };
  unstarted = new Set();
  starts = new Starts(
    { isUnstarted: (berth) => unstarted.has(berth), setStarted: (berth) => void unstarted.delete(berth) },
    { start },
    () => hasLease,
    () => ends++,
    (sentence) => said.push(sentence),
  );
});
afterEach(() => vi.useRealTimers());

async function ended(berth: string, why?: string): Promise<void> {
  const before = ends;
  end.get(berth)?.(why);
  await new Promise((resolve) => setImmediate(resolve));
  expect(ends).toBe(before + 1);
}

it("repeats a start that has failed after 1 s, then later and later, and says why once", async () => {
  starts.begin(["a"], never);
  for (const pause of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
    expect(starts.pause(["a"])).toBe(60_000); // while it starts
    await ended("a", "no memory");
    expect(starts.pause(["a"])).toBe(pause);
    vi.advanceTimersByTime(pause - 1);
    const count = started.length;
    starts.begin(["a"], never);
    expect(started.length).toBe(count);
    vi.advanceTimersByTime(1);
    // Due, and not begun yet: there is nothing to wait for.
    expect(starts.pause(["a"])).toBe(0);
    starts.begin(["a"], never);
    expect(started.length).toBe(count + 1);
  }
  expect(said).toEqual(["a does not start: no memory"]);
  expect(starts.failureOf("a")).toBe("no memory");
});

it("starts four at a time", async () => {
  const all = ["a", "b", "c", "d", "e"];
  starts.begin(all, never);
  expect(started).toEqual(["a", "b", "c", "d"]);
  expect(starts.pause(all)).toBe(60_000);
  await ended("b");
  expect([starts.has("a"), starts.has("b")]).toEqual([true, false]);
  expect(starts.pause(all)).toBe(0);
  starts.begin(all, never);
  expect(started.at(-1)).toBe("e");
});

it("starts a berth that is new only while the host has its lease, until a start has succeeded", async () => {
  unstarted.add("new");
  hasLease = false;
  starts.begin(["new", "old"], never);
  expect(started).toEqual(["old"]);
  expect(starts.pause(["new"])).toBe(60_000);
  hasLease = true;
  expect(starts.pause(["new"])).toBe(0);
  starts.begin(["new"], never);
  await ended("new", "no memory");
  vi.advanceTimersByTime(1000);
  hasLease = false;
  starts.begin(["new"], never);
  expect(started).toEqual(["old", "new"]);
  hasLease = true;
  starts.begin(["new"], never);
  await ended("new");
  vi.advanceTimersByTime(2000);
  // It has begun here: it goes on without the lease.
  hasLease = false;
  starts.begin(["new"], never);
  expect(started).toEqual(["old", "new", "new", "new"]);
});
