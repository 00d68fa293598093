/** `berth-launch --end-with`: nothing of a program outlives the process that it works for. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { expect, it, test } from "vitest";
import { launcherPath } from "../../src/launcher-path.ts";

const launcher = launcherPath();
const parent = String(process.pid);

/** Starts two processes, one of which is nobody's child any more; their pids. */
const SCRIPT = "(sleep 1000 & echo $!); echo $$; exec sleep 1000";

async function pidsOf({ stdout }: ChildProcess): Promise<number[]> {
  if (stdout === null) throw new Error("no pipe");
  const lines = createInterface(stdout)[Symbol.asyncIterator]();
  return [Number((await lines.next()).value), Number((await lines.next()).value)];
}

/** A zombie has ended: whoever reaps orphans here may be slow. */
function lives(pid: number): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

it("kills all processes of the program when the one that started it is killed", async () => {
  const middle = spawn("sh", ["-c", '"$0" --end-with $$ -- sh -c "$1"', launcher, SCRIPT], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pids = await pidsOf(middle);
  expect(pids.map(lives)).toEqual([true, true]);
  middle.kill("SIGKILL");
  await once(middle, "exit");
  await expect.poll(() => pids.map(lives)).toEqual([false, false]);
});

it("kills all of them on SIGTERM, also a program that ignores it", async () => {
  const child = spawn(launcher, ["--end-with", parent, "--", "sh", "-c", `trap '' TERM; ${SCRIPT}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pids = await pidsOf(child);
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
  expect(pids.map(lives)).toEqual([false, false]);
});

it("ends what the program leaves behind", async () => {
  const child = spawn(launcher, ["--end-with", parent, "--", "sh", "-c", "(sleep 1000 & echo $!); echo $$; exit 7"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const pids = await pidsOf(child);
  expect(await once(child, "exit")).toEqual([7, null]);
  expect(pids.map(lives)).toEqual([false, false]);
});

test.each([
  ["exit 3", 3, null],
  ["kill -KILL $$", null, "SIGKILL"],
])("it ends as the program does: %s", (script, code, signal) => {
  const { status, signal: by } = spawnSync(launcher, ["--end-with", parent, "--", "sh", "-c", script]);
  expect([status, by]).toEqual([code, signal]);
});

test.each([
  [["0", "true"], "--end-with 0 is not the number of a process"],
  [["x", "true"], "--end-with x is not the number of a process"],
  [[parent], "COMMAND is missing; run berth-launch --end-with PID COMMAND"],
])("%j is wrong usage", (args, message) => {
  const { status, stderr } = spawnSync(launcher, ["--end-with", ...args], { encoding: "utf8" });
  expect([status, stderr]).toEqual([100, expect.stringContaining(message)]);
});

test("a program that does not exist is named", () => {
  const { status, stderr } = spawnSync(launcher, ["--end-with", parent, "nonexistent"], { encoding: "utf8" });
  expect([status, stderr]).toEqual([111, expect.stringContaining("cannot run nonexistent: No such file")]);
  expect(existsSync("nonexistent")).toBe(false);
});
