/**
 * As on a kernel without pidfs, whose pidfds have no inodes of their own; the other way is tried in
 * test/e2e/reclaim.test.ts.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { processIdentity } from "../../../src/broker/record/process-identity.ts";
import { TestFolder } from "../../support/broker.ts";

vi.mock(import("node:fs"), async (original) => ({ ...(await original()), statfsSync: () => ({ type: 0 }) as never }));

const NO_PIDFD = -1;
const identity = (pid: number): string | undefined => processIdentity(pid, NO_PIDFD);

it("is the same for one process, another for another, whatever it is called, and none when it is gone", async () => {
  using folder = new TestFolder();
  const program = join(folder.path, "x) R 1 (");
  copyFileSync("/bin/sleep", program);
  const child = spawn(program, ["1000"], { stdio: "ignore" });
  await once(child, "spawn");
  const pid = child.pid ?? -1;
  const [first, own] = [identity(pid), identity(process.pid)];
  expect(first).toMatch(/^[0-9a-f-]{36} start \d+$/);
  expect(identity(pid)).toBe(first);
  expect(own).toMatch(/ start \d+$/);
  expect(own).not.toBe(first);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(identity(pid)).toBeUndefined();
});
