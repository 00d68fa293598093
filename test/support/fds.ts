/** What this process has open, so that a test can show that nothing stays behind. */
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect } from "vitest";

/** Every open descriptor as `number -> file`, in order, without the one that reads the folder. */
export function openFds(pid: number | "self" = "self"): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder)
    .map(Number)
    .sort((a, b) => a - b)
    .flatMap((fd) => {
      try {
        return [`${fd} -> ${readlinkSync(`${folder}/${fd}`)}`];
      } catch {
        return []; // the one that read the folder
      }
    });
}

/** What a process has open when that has stayed the same for a while: a file that it reads meanwhile is none of it. */
export async function settledFds(pid: number | "self" = "self"): Promise<string[]> {
  let fds = openFds(pid);
  for (let same = 0; same < 10; same++) {
    await setTimeout(20);
    const now = openFds(pid);
    if (now.join() !== fds.join()) same = -1;
    fds = now;
  }
  return fds;
}

/** Waits, for 30 s at most, until exactly `before` is open again, and returns what is open then. */
async function fdsAgain(before: readonly string[], pid: number | "self" = "self"): Promise<string[]> {
  const deadline = performance.now() + 30_000;
  let now = openFds(pid);
  while (now.join() !== before.join() && performance.now() < deadline) {
    await setTimeout(1); // not at once: whoever has still to close them wants the processor too
    now = openFds(pid);
  }
  return now;
}

/** Fails, saying what it is, when within 30 s anything else than `before` stays open. */
export async function expectFdsAgain(before: readonly string[], pid: number | "self" = "self"): Promise<void> {
  const now = await fdsAgain(before, pid);
  const closed = before.filter((fd) => !now.includes(fd));
  const opened = now.filter((fd) => !before.includes(fd));
  expect({ closed, opened }).toEqual({ closed: [], opened: [] });
}

/**
 * Has each test of a file leave exactly what was open before it: at once when it is over, or within 30 s. To be
 * called before the file's own hooks: it looks before the first of them, and after the last.
 */
export function leaksNothing(when: "at once" | "soon" = "at once"): void {
  let before: string[] = [];
  beforeEach(() => {
    before = openFds();
  });
  afterEach(async () => {
    if (when === "soon") await expectFdsAgain(before);
    else expect(openFds()).toEqual(before);
  });
}
