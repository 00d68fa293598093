/** A thousand sleeping servers of one user: what their doorman takes. */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { ask, asleep, berth, getstatus, PATIENCE, ready, status } from "../support/doorman/doors.ts";
import { Dynasty } from "../support/dynasty.ts";
import { leaksNothing } from "../support/fds.ts";
import { list } from "../support/succession.ts";

leaksNothing("soon");

const BERTHS = 1000;
const FIRST_PORT = 20_000;
const IDLE_MS = 5000;
const IDLE_WINDOWS = 6;
/** Milliseconds of the processor's time in one tick of /proc/PID/stat (proc_pid_stat(5)). */
const TICK_MS = 10;

/** Milliseconds of the processor that a process has used. */
function used(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

const megabytes = (pid: number, key: string): number =>
  Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(status(pid))?.[1]) / 1024;

describe("the doorman of a thousand berths", { timeout: 120_000 }, () => {
  it("answers for each, in less than 60 MB, and takes no time while nothing comes", async () => {
    await using dynasty = new Dynasty();
    const ports = Array.from({ length: BERTHS }, (_, at) => FIRST_PORT + at);
    const files = ports.map((port) => [`b${port}.toml`, berth([`udp://127.0.0.1:${port}`], asleep)] as const);
    dynasty.config(Object.fromEntries(files));
    const broker = await dynasty.start();
    const pid = await ready(broker.pid);
    const some = [0, 1, 255, 256, 500, 998, 999].map((at) => ports[at] ?? expect.unreachable());
    for (const port of some) expect(await ask(port, getstatus)).toContain("Frozen Lake");
    await vi.waitFor(() => expect(megabytes(pid, "VmRSS")).toBeLessThan(60), PATIENCE);
    // V8 collects what the start left some seconds after the last work (8 s on Node 20: 30 ms), so the first window may
    // have that in it. A doorman that did something each second would have no window without.
    let idle = Number.POSITIVE_INFINITY;
    for (let window = 0; window < IDLE_WINDOWS && idle > 2 * TICK_MS; window++) {
      const before = used(pid);
      await setTimeout(IDLE_MS); // what is measured is that time passes
      idle = used(pid) - before;
    }
    console.log(
      `doorman of ${BERTHS} berths: RSS ${megabytes(pid, "VmRSS").toFixed(1)} MB, ` +
        `of that its own ${megabytes(pid, "RssAnon").toFixed(1)} MB; ${idle} ms of the processor in ${IDLE_MS / 1000} s`,
    );
    expect(idle).toBeLessThanOrEqual(2 * TICK_MS);
    const berths = await list(broker.socket);
    expect(berths.filter(({ state }) => state === "vacant").length).toBe(BERTHS);
    expect(broker.log.filter(({ event }) => event === "doorman")).toEqual([]);
  });
});
