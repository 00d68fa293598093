/** `npm run demo:fleet`: what it shows, and that nothing of it is left, also after Ctrl-C. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { endsWithTest } from "../support/wrap.ts";

describe("the demo of a fleet", {
  ...needs("etcd", "ip", "nsenter", "root", "setpriv", "unshare"),
  timeout: 300_000,
}, () => {
  function start(folder: TestFolder): ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream } {
    const script = join(packageRoot, "scripts/demo-fleet.mjs");
    const [command = "", ...args] = [...endsWithTest, process.execPath, script];
    const env = { ...process.env, BERTHD_SKIP_BUILD: "1", TMPDIR: folder.path };
    return spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
  }

  /** Processes with the folder in their environment. */
  function left(folder: TestFolder): string[] {
    return readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && isIn(pid, folder.path));
  }

  it("places berths, kills a host, and all serve again; and leaves nothing", async () => {
    using folder = new TestFolder();
    const demo = start(folder);
    const [out, err] = await Promise.all([text(demo.stdout), text(demo.stderr), once(demo, "close")]);
    expect([demo.exitCode, err]).toEqual([0, ""]);
    expect(out).toMatch(/^arena-2: on h2$/m);
    expect(out).toMatch(/^arena-2 +h2 +occupied +- +game=10\.88\.0\.12:27000$/m);
    expect(out).toMatch(/^arena-2 +h[13] +occupied /m);
    expect(out).toMatch(/^All four serve again, [\d.]+ s after h2 was killed\. /m);
    expect(out).toContain("arena-4: removed from ");
    expect(left(folder)).toEqual([]);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it("ends with Ctrl-C, and leaves nothing", async () => {
    using folder = new TestFolder();
    const demo = start(folder);
    const closed = once(demo, "close");
    await once(demo.stdout, "data");
    demo.kill("SIGINT");
    await closed;
    expect(demo.exitCode).not.toBe(0);
    expect(left(folder)).toEqual([]);
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

function isIn(pid: string, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`TMPDIR=${folder}`);
  } catch {
    return false; // ended meanwhile
  }
}
