/** Loading a program of eBPF while signals come. */
import { constants } from "node:os";
import { expect, it, vi } from "vitest";
import { loadProgram } from "../../src/net/bpf-load.ts";

const { EACCES, EAGAIN } = constants.errno;

it("a program that a signal has interrupted is loaded again, and no other failure is tried again", () => {
  const results = [-EAGAIN, -EAGAIN, 7, -EACCES];
  const load = vi.fn(() => results.shift() ?? expect.unreachable());
  expect(loadProgram(load)).toBe(7);
  expect(load).toHaveBeenCalledTimes(3);
  expect(loadProgram(load)).toBe(-EACCES);
});

it("a program that is interrupted every time is given up", () => {
  const load = vi.fn(() => -EAGAIN);
  expect(loadProgram(load)).toBe(-EAGAIN);
  expect(load).toHaveBeenCalledTimes(20);
});
