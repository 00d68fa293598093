/**
 * A tenant executes another program, and the kernel waits meanwhile for a file that never answers that it is closed.
 * Until then the tenant has its own exec_update_lock, and whoever looks into it by pidfd_getfd(2) or some files of
 * /proc/PID waits.
 */
import { rmSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { CopySearch } from "../../src/broker/sockets/holders/copies.ts";
import { Attacker } from "../support/attacks/attacker.ts";
import { Siege, STRANGER, TENANT } from "../support/attacks/siege.ts";
import { StuckFuse } from "../support/attacks/stuck-fuse.ts";
import { needs } from "../support/needs.ts";

vi.setConfig({ testTimeout: 60_000 });

describe("a tenant does not come to the end of exec", needs("root"), () => {
  async function hold(attacker: Attacker, fuse: StuckFuse): Promise<void> {
    await attacker.do(`exec received ${fuse.file}`);
    await fuse.stuck("FLUSH");
  }

  it("and others ask for its berth, and take it", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(TENANT);
    await using other = new Attacker(0);
    await using fuse = await StuckFuse.mount(["FLUSH"]);
    await hold(attacker, fuse);
    await other.do(`connect c ${siege.socket}`);
    expect(await other.call("c", "List")).toContain(`"pid":${attacker.pid}`);
    expect(await other.call("c", "Acquire", { berth: "prey", replace: "must" })).toContain('"lease":');
    await siege.nobodyNoticed();
  });

  it("while the broker is killed, and the next one looks for living tenants", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["FLUSH"]);
    await hold(attacker, fuse);
    await siege.canBeKilledAndStarted();
    const warned = siege.successor.log.filter((line) => line["event"] === "not-reclaimed");
    expect(warned.map(({ message }) => message)).toEqual([expect.stringContaining("ETIMEDOUT")]);
  });

  it("while the broker is killed, and the next one finds no record of it", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["FLUSH"]);
    await hold(attacker, fuse);
    siege.broker.child.kill("SIGKILL");
    await siege.broker.exited;
    rmSync(`${siege.socket}.leases`);
    await siege.canBeKilledAndStarted();
  });

  it("and counts as one that may have what its user's berths hold, and no other's", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["FLUSH"]);
    await hold(attacker, fuse);
    const nobodys = 1n; // an inode that no socket has
    const search = new CopySearch();
    expect(await search.has(nobodys, (uid) => uid === TENANT)).toBe(true);
    expect(await search.has(nobodys, (uid) => uid === STRANGER)).toBe(false);
  });
});
