/** When a peer is taken to wait for each reply. */
import { expect, it } from "vitest";
import { Pace } from "../../src/wire/pace.ts";

function paceAfter(lengths: readonly number[], fds = 0): number {
  const pace = new Pace();
  for (const length of lengths) pace.note(length, fds);
  return pace.steady;
}

const nine = (length: number): number[] => Array.from({ length: 9 }, () => length);

it("after nine short frames of one length, which bring no descriptors", () => {
  expect(paceAfter(nine(80))).toBe(80);
  expect(paceAfter(nine(512))).toBe(512);
  expect(paceAfter(nine(80).slice(1))).toBe(0);
  expect(paceAfter([...nine(80), 81])).toBe(0);
  expect(paceAfter(nine(80), 1)).toBe(0);
});

it("never after long frames: a read of that length could handle a thousand short calls", () => {
  expect(paceAfter(nine(513))).toBe(0);
  expect(paceAfter(Array.from({ length: 100 }, () => 36_000))).toBe(0);
});
