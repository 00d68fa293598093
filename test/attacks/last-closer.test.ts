/**
 * A tenant puts its berth's socket into an epoll, has the kernel hold the epoll's mutex, and closes its own number of
 * the socket. Whoever closes the socket for the last time then waits in the kernel, and not even SIGKILL ends that. It
 * must never be the broker.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { Attacker } from "../support/attacks/attacker.ts";
import { Siege, TENANT } from "../support/attacks/siege.ts";
import { StuckFuse } from "../support/attacks/stuck-fuse.ts";
import { stuckThreads } from "../support/attacks/vitals.ts";
import type { BrokerProcess, ConfigFiles } from "../support/broker.ts";
import { childrenOf } from "../support/guards.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";

vi.setConfig({ testTimeout: 60_000 });

/** Berths at fixed ports, so that one that is still in use is noticed. */
async function fixed(): Promise<ConfigFiles> {
  const [prey, bystander] = [await freePort(), await freePort()];
  return {
    "prey.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:${prey}"]\n[tenant]\nusers = [${TENANT}]`,
    "bystander.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:${bystander}", "tcp://127.0.0.1:${bystander}"]`,
  };
}

/** From now on who closes `prey`'s socket for the last time waits. */
async function hold(attacker: Attacker, fuse: StuckFuse): Promise<void> {
  await attacker.do("epoll e received");
  await attacker.do(`stick e ${fuse.file}`);
  await fuse.stuck("READ");
  await attacker.do("close received");
}

/** Root takes `bystander` on a broker, and what comes of it. */
async function takeBystander(socket: string): Promise<string> {
  await using other = new Attacker(0);
  await other.do(`connect c ${socket}`);
  return await other.call("c", "Acquire", { berth: "bystander" });
}

function keepersOf(broker: number): number[] {
  return childrenOf(broker, "berth-guard").flatMap((zygote) => childrenOf(zygote, "berth-guard-k"));
}

function told({ log }: BrokerProcess, event: string): readonly string[] {
  return log.filter((line) => line["event"] === event).map(({ message }) => message);
}

describe("a tenant makes the last close of its berth's socket wait", needs("root"), () => {
  it("and the broker is killed: the next one serves the other berths, and this one when the attack is over", async () => {
    await using siege = await Siege.begin(await fixed());
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    await hold(attacker, fuse);
    expect(await takeBystander(siege.socket)).toContain('"lease":');
    await siege.canBeKilledAndStarted();
    const next = siege.successor;
    expect(told(next, "problem")).toEqual([expect.stringMatching(/^berth prey cannot be taken: .*EADDRINUSE/)]);
    expect(await takeBystander(next.socket)).toContain('"lease":');
    await fuse[Symbol.asyncDispose]();
    await next.logged(({ event }) => event === "cured");
  });

  it("and the keeper is killed, and then the broker: nothing is different", async () => {
    await using siege = await Siege.begin(await fixed());
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    await hold(attacker, fuse);
    expect(await takeBystander(siege.socket)).toContain('"lease":');
    await expect.poll(() => keepersOf(siege.broker.pid)).toHaveLength(1);
    const before = keepersOf(siege.broker.pid);
    for (const pid of before) process.kill(pid, "SIGKILL");
    await siege.broker.logged(({ event }) => event === "keeper");
    await expect.poll(() => keepersOf(siege.broker.pid)).toHaveLength(1);
    expect(keepersOf(siege.broker.pid)).not.toEqual(before);
    await siege.canBeKilledAndStarted();
    expect(told(siege.successor, "problem")).toEqual([expect.stringContaining("berth prey cannot be taken")]);
    expect(told(siege.broker, "keeper")).toHaveLength(1);
  });

  it("and a reload removes the berth: nobody notices, and the log says whose socket it is", async () => {
    await using siege = await Siege.begin(await fixed());
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    await hold(attacker, fuse);
    rmSync(join(siege.broker.folder.path, "config", "prey.toml"));
    siege.broker.child.kill("SIGHUP");
    await siege.broker.logged(({ event }) => event === "removed");
    // The socket stays while there is a lease.
    await attacker.call("c", "Release", { lease: "@lease" });
    await siege.nobodyNoticed(() => siege.hasLogged("berth prey: a former tenant holds an epoll with a closed socket"));
    expect(stuckThreads(siege.broker.pid)).toEqual([]);
    await siege.canBeKilledAndStarted();
  });

  it("and stashes another socket, which is dropped: nobody notices", async () => {
    await using siege = await Siege.begin(await fixed());
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    await attacker.do("make s udp");
    await attacker.call("c", "Stash", { lease: "@lease", name: "s" }, "s");
    await attacker.do("epoll e s");
    await attacker.do(`stick e ${fuse.file}`);
    await fuse.stuck("READ");
    await attacker.do("close s");
    await siege.canBeKilledAndStarted();
  });

  it("and the broker is told to end: it does, and the next one serves", async () => {
    await using siege = await Siege.begin(await fixed());
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    await hold(attacker, fuse);
    siege.broker.child.kill("SIGTERM");
    await siege.broker.exited;
    await siege.canBeKilledAndStarted();
    expect(await takeBystander(siege.successor.socket)).toContain('"lease":');
  });
});
