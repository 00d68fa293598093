import { expect, it } from "vitest";
import { inSlices, toEnd } from "../../src/config/steps.ts";

function* count(steps: number, each: () => void = () => undefined): Generator<undefined, number> {
  for (let n = 0; n < steps; n++) {
    each();
    yield;
  }
  return steps;
}

it("steps run to their end at once, and give their result", () => {
  let done = 0;
  expect(toEnd(count(5, () => done++))).toBe(5);
  expect(done).toBe(5);
});

it("steps in slices begin after the present turn of the event loop, and leave a turn after each slice", async () => {
  const turns: number[] = [];
  let turn = 0;
  let isOver = false;
  const tick = (): void => {
    turn++;
    if (!isOver) setImmediate(tick);
  };
  setImmediate(tick);
  // Each step takes longer than a slice.
  const slow = (): void => {
    turns.push(turn);
    for (const end = performance.now() + 1.5; performance.now() < end; );
  };
  const result = inSlices(count(5, slow), 1);
  expect(turns).toEqual([]);
  expect(await result).toBe(5);
  isOver = true;
  expect(new Set(turns).size).toBe(5);
  expect(turns[0]).toBeGreaterThan(0);
});

it("what a step throws is the result", async () => {
  const broken = (): never => {
    throw new Error("no");
  };
  await expect(inSlices(count(1, broken), 5)).rejects.toThrow("no");
});
