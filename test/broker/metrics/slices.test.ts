/** Long work in slices: what gets its turn, and what counts as delay. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import { Slices } from "../../../src/broker/metrics/slices.ts";

/** Keeps the processor for so long. */
function work(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

it("the event loop turns between slices, and each job gets a piece in turn", async () => {
  const slices = new Slices();
  const done: string[] = [];
  const job = (name: string, pieces: number): (() => boolean) => {
    let left = pieces;
    return () => {
      work(2);
      done.push(name);
      return --left > 0;
    };
  };
  slices.add(job("a", 3));
  slices.add(job("b", 2));
  expect(done).toEqual([]);
  for (let pieces = 1; pieces <= 5; pieces++) {
    await nextTurn();
    expect(done).toHaveLength(pieces);
  }
  expect(done).toEqual(["a", "b", "a", "b", "a"]);
  await nextTurn();
  expect(done).toHaveLength(5);
});

it("the delay is what other work took, and not the work itself", async () => {
  const slices = new Slices();
  slices.add(() => false);
  work(50);
  await nextTurn();
  expect(slices.delay).toBeGreaterThanOrEqual(50);
  const delays: number[] = [];
  const again = (): boolean => {
    delays.push(slices.delay);
    if (delays.length < 20) slices.add(again);
    work(20);
    return false;
  };
  slices.add(again);
  while (delays.length < 20) await nextTurn();
  expect(Math.min(...delays.slice(1))).toBeLessThan(20);
});
