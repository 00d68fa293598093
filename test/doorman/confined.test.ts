/** What the doorman's process can do no more once it is confined, as berth-doorman has executed it. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { programPath } from "../../src/launcher-path.ts";
import { packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";

const run = promisify(execFile);

const attempts = `
import { openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { spawnSync } from "node:child_process";
const { native: sys } = await import(process.argv[2]);
const pair = new Int32Array(2);
sys.socketpair(1, 1, pair);
const rings = readdirSync("/proc/self/fd").length;
const confined = sys.confineDoorman();
const attempt = (call) => {
  try {
    const result = call();
    return result < 0 ? -result : result?.error?.code ?? "possible";
  } catch ({ code }) {
    return code;
  }
};
const all = {
  confined,
  again: attempt(() => sys.confineDoorman()),
  open: attempt(() => openSync("/etc/passwd")),
  create: attempt(() => openSync("/tmp/doorman-was-here", "w")),
  read: attempt(() => readFileSync("/proc/self/status")),
  list: attempt(() => readdirSync("/")),
  socket: attempt(() => sys.socket(2, 2, 0)),
  connect: attempt(() => sys.connect(pair[0], Buffer.alloc(16))),
  spawn: attempt(() => spawnSync("/bin/true")),
  exec: attempt(() => sys.exec("/bin/true", ["true"], [], 0)),
  flags: attempt(() => sys.setfl(pair[0], 0)),
  options: attempt(() => sys.setsockopt(pair[0], 1, 2, 1)),
  tcpOptions: attempt(() => sys.setsockopt(pair[0], 6, 27, 1)),
  signal: attempt(() => process.kill(process.ppid, 0)),
  become: attempt(() => process.setuid(0)),
  chdir: attempt(() => process.chdir("/")),
  memory: attempt(() => sys.memfd("x")),
  pidfd: attempt(() => sys.pidfdOpen(1)),
};
writeSync(1, JSON.stringify(all));
sys.exitNow(0);
`;

it("a confined process opens, connects, starts and changes nothing", async () => {
  using folder = new TestFolder({ "attempts.mjs": attempts });
  const native = pathToFileURL(join(packageRoot, "dist/native.js")).href;
  const { stdout } = await run(programPath("berth-doorman"), [
    process.execPath,
    "--jitless",
    join(folder.path, "attempts.mjs"),
    native,
  ]);
  const { confined, ...refused } = JSON.parse(stdout) as Record<string, unknown>;
  expect(confined).toBe(0);
  expect(Object.keys(refused).length).toBeGreaterThan(10);
  expect(Object.entries(refused).filter(([, result]) => result !== "EPERM" && result !== 1)).toEqual([]);
});

it("berth-doorman does nothing by itself", async () => {
  const { stdout } = await run(programPath("berth-doorman"), ["--version"]);
  expect(stdout).toMatch(/^berth-doorman \d/);
  await expect(run(programPath("berth-doorman"))).rejects.toMatchObject({ code: 100 });
  await expect(run(programPath("berth-doorman"), ["/nonexistent", "x"])).rejects.toMatchObject({ code: 112 });
});
