/** What outlives the broker, by the service manager's store of descriptors: a fake one here, systemd in machine tests. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeManager } from "../support/fake-manager.ts";
import { fdsAgain, openFds } from "../support/fds.ts";
import { RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";

let before: string[];
beforeEach(() => {
  before = openFds();
});
afterEach(async () => {
  expect(await fdsAgain(before)).toEqual(before);
});

interface View {
  readonly name: string;
  readonly kept: number;
  readonly lease?: { readonly id: string; readonly pid: number };
  readonly ready?: boolean;
}

async function list(manager: FakeManager): Promise<View[]> {
  using peer = await RawPeer.connect(manager.socket);
  return (await peer.call("List"))?.parameters["berths"] as View[];
}

describe("a broker that is killed", () => {
  it("leaves sockets, leases and stashes to the next, which takes them back", async () => {
    await using manager = new FakeManager({ max: 64 });
    const port = await freePort();
    manager.config(
      "a.toml",
      `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}", "unix://${manager.folder.path}/s"]\n`,
    );
    await manager.start();
    await using tenant = await Puppet.connect(manager.socket);
    const lease = await tenant.acquire("a");
    const stash = (name: string, fd: string) => tenant.call("Stash", { lease, name }, fd);
    expect((await stash("players", `[os.memfd_create("players")]`)).error).toBeUndefined();
    expect((await stash("again", "[b.fds[0]]")).error).toBeUndefined();
    expect((await tenant.call("Ready", { lease })).error).toBeUndefined();
    const kept = await list(manager);
    expect(kept).toMatchObject([{ name: "a", kept: 6, lease: { id: lease, pid: tenant.pid }, ready: true }]);
    for (let n = 0; n < 3; n++) {
      await manager.end();
      const pending = await connected(port);
      await manager.start();
      expect(await list(manager)).toEqual(kept);
      expect(manager.names).toHaveLength(7);
      await tenant.do(`b = Broker(${JSON.stringify(manager.socket)})`);
      expect(await tenant.acquire("a")).toBe(lease);
      expect(await tenant.do("c = held(b.fds[0]).accept(); result = len(b.fds)")).toBe(4);
      pending.on("error", () => undefined).destroy();
    }
  });
});
