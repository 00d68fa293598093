/** What a tenancy hears of its own berth: that another has it, that it is gone, that it has changed. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { acquire } from "../../src/client/acquire.ts";
import { connect } from "../../src/client/connect.ts";
import type { Tenancy } from "../../src/client/tenancy.ts";
import type { TenancyEvent } from "../../src/client/tenancy-watch.ts";
import { packageRoot } from "../../src/native.ts";
import { isReady, launchBroker, spawnBroker, startBroker } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";
import { Puppet } from "../support/puppet.ts";

leaksNothing("soon");

const arena = { "arena.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n' };
const changed = `${arena["arena.toml"]}[sockets.query]\nlisten = ["udp://127.0.0.1:0"]\n`;

/** Resolves with the event's message. To be asked for before it can happen. */
async function heard(tenancy: Tenancy, event: TenancyEvent): Promise<string> {
  const [{ code, message }] = await once(tenancy, event);
  expect(code).toBe("TENANCY_CHANGED");
  return message;
}

describe("a tenancy emits", () => {
  it('"replaced" when its successor is ready, and not before', async () => {
    await using broker = await startBroker(arena);
    await using tenancy = await acquire("arena", { socket: broker.socket });
    const signal = tenancy.signal("replaced");
    const replaced = heard(tenancy, "replaced");
    await using puppet = await Puppet.connect(broker.socket);
    const { parameters } = await puppet.call("Acquire", { berth: "arena", replace: "must" });
    expect(signal.aborted).toBe(false);
    await puppet.call("Ready", { lease: parameters["lease"] });
    expect(await replaced).toBe(`berth arena: pid ${puppet.pid} has taken it over`);
    expect(signal.reason).toMatchObject({ code: "TENANCY_CHANGED" });
  });

  it("nothing while it is the newcomer of a handover, and nothing when that is complete", async () => {
    await using broker = await startBroker(arena);
    await using puppet = await Puppet.connect(broker.socket);
    await puppet.call("Acquire", { berth: "arena" });
    await using tenancy = await acquire("arena", { socket: broker.socket, replace: "must" });
    const signal = tenancy.signal();
    await tenancy.ready();
    // The next event comes after all that the handover could have caused.
    const outdated = heard(tenancy, "outdated");
    broker.folder.write({ "config/arena.toml": changed });
    await broker.broker.reload();
    await outdated;
    expect(signal.reason.message).toContain("its configuration has changed");
  });

  it('"draining" when its server is to end, again for another deadline, and "drain-cancelled"', async () => {
    await using broker = await startBroker(arena);
    await using tenancy = await acquire("arena", { socket: broker.socket });
    const signal = tenancy.signal();
    using client = await connect({ socket: broker.socket });
    const draining = heard(tenancy, "draining");
    expect(await client.drain("arena")).toEqual({ began: expect.any(Number) });
    expect(await draining).toBe("berth arena: its server is stopped once nobody plays");
    const again = heard(tenancy, "draining");
    await client.drain("arena", { within: 600 });
    expect(await again).toMatch(/once nobody plays, at the latest at \d{4}-.*Z$/);
    const cancelled = heard(tenancy, "drain-cancelled");
    expect((await client.cancelDrain("arena"))?.deadline).toBeGreaterThan(Date.now() * 1000);
    expect(await cancelled).toBe("berth arena: its drain was cancelled: the server goes on");
    expect(await client.cancelDrain("arena")).toBeUndefined();
    expect(signal.aborted).toBe(false);
  });

  it('"removed" when the berth is no longer configured', async () => {
    await using broker = await startBroker({ ...arena, "other.toml": arena["arena.toml"] });
    await using tenancy = await acquire("arena", { socket: broker.socket });
    const removed = heard(tenancy, "removed");
    rmSync(join(broker.folder.path, "config/arena.toml"));
    await broker.broker.reload();
    expect(await removed).toContain("berth arena: it is no longer configured");
  });

  it('"removed" when somebody else has ended the lease', async () => {
    await using broker = await startBroker(arena);
    await using tenancy = await acquire("arena", { socket: broker.socket });
    const removed = heard(tenancy, "removed");
    using client = await connect({ socket: broker.socket });
    using _ = await client.call("io.berthd.Broker.Release", { lease: tenancy.lease });
    expect(await removed).toBe("berth arena: the lease was ended by somebody else");
  });

  it('"outdated" when its configuration has changed, until it acquires the berth again', async () => {
    await using broker = await startBroker(arena);
    await using tenancy = await acquire("arena", { socket: broker.socket });
    const outdated = heard(tenancy, "outdated");
    await broker.broker.reload(); // nothing changed
    expect(broker.broker.berths[0]?.outdated).toBeUndefined();
    broker.folder.write({ "config/arena.toml": changed });
    await broker.broker.reload();
    expect(await outdated).toContain("acquire it again");
    expect(broker.broker.berths[0]?.outdated).toBe(true);
    await using again = await acquire("arena", { socket: broker.socket });
    expect([again.lease, again.descriptors.length]).toEqual([tenancy.lease, 2]);
    expect(broker.broker.berths[0]?.outdated).toBeUndefined();
  });

  it("events of the next broker, after the first one was killed", async () => {
    await using first = await spawnBroker(arena);
    await using tenancy = await acquire("arena", { socket: first.socket });
    const removed = heard(tenancy, "removed");
    first.child.kill("SIGKILL");
    await first.closed;
    await using second = launchBroker(first.folder);
    await second.logged(isReady);
    using client = await connect({ socket: second.socket });
    using _ = await client.call("io.berthd.Broker.Release", { lease: tenancy.lease });
    expect(await removed).toBe("berth arena: the lease was ended by somebody else");
    await tenancy.release();
  });

  it("what a program hears without being kept alive by it", async () => {
    await using broker = await startBroker(arena);
    const program = `import { acquire } from ${JSON.stringify(join(packageRoot, "dist/index.js"))};
      (await acquire("arena")).on("replaced", () => undefined);
      process.stdout.write("over");`;
    const env = { ...process.env, BERTHD_SOCKET: broker.socket };
    const args = ["--input-type=module", "-e", program];
    expect((await promisify(execFile)(process.execPath, args, { env })).stdout).toBe("over");
  });
});
