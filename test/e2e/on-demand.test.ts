/** A real game server that knows nothing of any of this, started and stopped by the built daemon, without systemd. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { isRoot } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { fixtures } from "../support/puppet.ts";
import { Watcher } from "../support/watcher.ts";

const run = promisify(execFile);
const player = join(fixtures, "teeworlds-player.py");

/** What the server that answers one player calls itself. */
async function nameAt(port: number): Promise<string> {
  const { stdout } = await run("python3", ["-S", player, String(port)]);
  return stdout.trim();
}

function sessionOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

interface Scene extends AsyncDisposable {
  readonly broker: BrokerProcess;
  readonly watcher: Watcher;
  readonly port: number;
}

async function scene(more: string): Promise<Scene> {
  const folder = new TestFolder({ "home/.keep": "" });
  const port = await freePort();
  // It takes the name of a file in its own folder, and no path.
  folder.write({ "tw.cfg": `sv_port ${port}\nbindaddr 127.0.0.1\nsv_register 0\nsv_name berthd-test\n` });
  const home = join(folder.path, "home");
  chmodSync(home, 0o777);
  const files = {
    "tee.toml": `
      [sockets.game]
      listen = ["udp://127.0.0.1:${port}"]
      [server]
      command = ["/usr/games/teeworlds-server", "-f", "tw.cfg"]
      ${isRoot ? "user = 65534" : ""}
      directory = "${folder.path}"
      environment = { HOME = "${home}" }
      deliver = ["bind"]
      start = "on-demand"
      ${more}`,
  };
  const broker = await spawnBroker(files, ["--state", join(folder.path, "state")]);
  const watcher = await Watcher.connect(broker.socket, 1);
  const dispose = async (): Promise<void> => {
    const pids = new Set(watcher.events.flatMap(({ berth }) => berth.lease?.pid ?? []));
    broker.child.kill("SIGKILL");
    for (const pid of pids) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    await watcher[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  };
  return { broker, watcher, port, [Symbol.asyncDispose]: dispose };
}

it("Teeworlds answers the packet that started it, stops when nobody plays, and starts again", async () => {
  await using one = await scene('stop-after = "3s"');
  const pids = new Set<number | undefined>();
  for (let round = 1; round <= 2; round++) {
    expect(await nameAt(one.port)).toBe("berthd-test");
    pids.add((await one.watcher.count("acquired", round))[round - 1]?.berth.lease?.pid);
    await one.watcher.count("released", round);
  }
  expect(pids.size).toBe(2);
  expect(one.watcher.names()).not.toContain("failed");
});

it("Teeworlds, started by the broker, outlives it", async () => {
  await using one = await scene("");
  expect(await nameAt(one.port)).toBe("berthd-test");
  // One that ends is started again: then another one has answered, and the log says why.
  expect(one.broker.log.filter(({ message }) => /failed|ended/.test(message))).toEqual([]);
  const [event] = await one.watcher.count("acquired", 1);
  const pid = event?.berth.lease?.pid ?? 0;
  // A signal from the terminal of the broker is not for it.
  expect(sessionOf(pid)).toBe(pid);
  const exited = once(one.broker.child, "exit");
  one.broker.child.kill("SIGKILL");
  await exited;
  expect(await nameAt(one.port)).toBe("berthd-test");
});
