/** A broker in this process that starts servers: real ones, which are killed with it. Tests that import it may. */
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll } from "vitest";
import type { StartLimits } from "../../src/broker/demand/starter.ts";
import { startBroker, type TestBroker, TestFolder } from "./broker.ts";
import { isRoot } from "./needs.ts";
import { fixtures } from "./puppet.ts";
import { Watcher } from "./watcher.ts";

/** The line of a berth file with the server's user. */
export const user: string = isRoot ? "user = 65534\n" : "";
/** Programs for every user to read. */
export const programs: TestFolder = new TestFolder({
  "late-server.py": readFileSync(join(fixtures, "late-server.py"), "utf8"),
  "self-server.py": readFileSync(join(fixtures, "self-server.py"), "utf8"),
  "status-server.py": readFileSync(join(fixtures, "status-server.py"), "utf8"),
});
/** The line with a server that echoes datagrams, and tells its pid by TCP. */
export const selfServer: string = `command = ["/usr/bin/python3", "-S", "${programs.path}/self-server.py"]\n`;
/** The line with a server that answers status queries of Quake III and Minecraft Java. */
export const statusServer: string = `command = ["/usr/bin/python3", "-S", "${programs.path}/status-server.py"]\n`;
/** The line with a server by TCP that accepts nobody before it gets SIGUSR1. */
export const lateServer: string = `command = ["/usr/bin/python3", "-S", "${programs.path}/late-server.py"]\n`;
const output = openSync("/dev/null", "w");
afterAll(() => {
  programs[Symbol.dispose]();
  closeSync(output);
});

export interface StartingBroker extends TestBroker {
  readonly watcher: Watcher;
}

export async function startingBroker(
  files: Readonly<Record<string, string>>,
  starts: Partial<StartLimits> = {},
): Promise<StartingBroker> {
  const started = await startBroker(files, { starts, serverOutput: output });
  const watcher = await Watcher.connect(started.socket, Object.keys(files).length);
  const dispose = async (): Promise<void> => {
    const leases = started.broker.berths.flatMap(({ lease }) => lease ?? []);
    await watcher[Symbol.asyncDispose]();
    await started[Symbol.asyncDispose]();
    for (const { pid } of leases) process.kill(pid, "SIGKILL");
    for (const { pid } of leases) while (isThere(pid)) await setImmediate();
  };
  return { ...started, watcher, [Symbol.asyncDispose]: dispose };
}

/** Whether there is such a process, a zombie included. */
export function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
