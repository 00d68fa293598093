import { constants } from "node:os";
import { expect, it } from "vitest";
import { native } from "../../src/native.ts";
import { expectFdsAgain, openFds } from "../support/fds.ts";
import { type Lingering, lingering } from "../support/lingering.ts";
import { memfd, socketPair } from "../support/sockets.ts";

const MOST = 32;

it("closeForeign closes at once what cannot wait", () => {
  const before = openFds();
  const [a, b] = socketPair();
  for (const handle of [a, b, memfd()]) expect(native.closeForeign(handle.steal())).toBe(0);
  expect(openFds()).toEqual(before);
});

it("closeForeign waits elsewhere, for 32 descriptors at a time, and leaves one more open", async () => {
  const before = openFds();
  const all: Lingering[] = Array.from({ length: MOST + 1 }, lingering);
  const last = all.at(-1);
  try {
    for (const { fd } of all.slice(0, MOST)) expect(native.closeForeign(fd)).toBe(0);
    expect(native.closeForeign(last?.fd ?? -1)).toBe(-constants.errno.EAGAIN);
    expect(native.getfd(last?.fd ?? -1)).toBeGreaterThanOrEqual(0);
  } finally {
    for (const one of all) one[Symbol.dispose]();
  }
  // The peers are gone, so nobody waits any more: there is room again.
  await expect.poll(() => native.closeForeign(last?.fd ?? -1), { timeout: 30_000 }).toBe(0);
  await expectFdsAgain(before);
});
