/**
 * What outlives the broker, by the service manager's store of descriptors: a fake one here, systemd in
 * test/systemd/boot.
 */
import { lstatSync, rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FakeManager } from "../support/fake-manager.ts";
import { leaksNothing } from "../support/fds.ts";
import { inject } from "../support/inject.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";
import { lasting } from "../support/succession.ts";

leaksNothing("soon");

interface View {
  readonly name: string;
  readonly state: string;
  readonly kept?: number;
  readonly lease?: { readonly id: string; readonly pid: number };
  readonly ready?: boolean;
}

async function list(manager: FakeManager): Promise<View[]> {
  using peer = await RawPeer.connect(manager.socket);
  return lasting((await peer.call("List"))?.parameters["berths"] as View[]);
}

const said = (manager: FakeManager): string => manager.log.map(({ message }) => message).join("\n");
const reconnect = (tenant: Puppet, manager: FakeManager): Promise<unknown> =>
  tenant.do(`b = Broker(${JSON.stringify(manager.socket)})`);

describe("a broker that is killed", () => {
  it("leaves sockets, leases and stashes to the next, which takes them back", async () => {
    await using manager = new FakeManager({ max: 64 });
    const port = await freePort();
    const path = `${manager.folder.path}/s`;
    manager.config("a.toml", `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}", "unix://${path}"]\n`);
    await manager.start();
    const { ino } = lstatSync(path);
    await using tenant = await Puppet.connect(manager.socket);
    const lease = await tenant.acquire("a");
    const stash = async (name: string, fd: string): Promise<void> => {
      expect((await tenant.call("Stash", { lease, name }, fd)).error).toBeUndefined();
    };
    await stash("players", '[os.memfd_create("players")]');
    // The store keeps one descriptor of an open file; the berth has this one already.
    await stash("again", "[b.fds[0]]");
    expect((await tenant.call("Ready", { lease })).error).toBeUndefined();
    const kept = await list(manager);
    expect(kept).toMatchObject([{ name: "a", kept: 6, lease: { id: lease, pid: tenant.pid }, ready: true }]);
    for (let n = 0; n < 2; n++) {
      await (n === 0 ? manager.end() : manager.end("SIGTERM"));
      const pending = await connected(port);
      await manager.start();
      expect(await list(manager)).toEqual(kept);
      expect(manager.store).toHaveLength(7);
      expect(lstatSync(path).ino).toBe(ino);
      await reconnect(tenant, manager);
      expect(await tenant.acquire("a")).toBe(lease);
      expect(await tenant.do("c = held(b.fds[0]).accept(); result = len(b.fds)")).toBe(4);
      pending.on("error", () => undefined).destroy();
    }
    await tenant.call("Release", { lease });
    await expect.poll(() => manager.names.filter((name) => name.startsWith("lease."))).toEqual([]);
  });

  it("is followed by one that reads the configuration as it is now: what no berth wants goes, and is said", async () => {
    await using manager = new FakeManager({ max: 64 });
    const [moved, gone, same] = [await freePort(), await freePort(), await freePort()];
    manager.config("moves.toml", `[sockets.s]\nlisten = ["tcp://127.0.0.1:${moved}"]\n`);
    manager.config("goes.toml", `[sockets.s]\nlisten = ["udp://127.0.0.1:${gone}"]\n`);
    manager.config("stays.toml", `[sockets.s]\nlisten = ["tcp://127.0.0.1:${same}"]\n`);
    await manager.start();
    await using tenant = await Puppet.connect(manager.socket);
    const lease = await tenant.acquire("goes");
    await tenant.call("Stash", { lease, name: "state" }, '[os.memfd_create("x")]');
    await tenant.call("Release", { lease });
    const stays = manager.names.find((name) => name.startsWith("socket.stays"));
    await manager.end();
    manager.config("moves.toml", `[sockets.s]\nlisten = ["udp://127.0.0.1:${moved}"]\n`);
    rmSync(`${manager.folder.path}/config/goes.toml`);
    await manager.start();
    expect((await list(manager)).map(({ name, kept }) => [name, kept])).toEqual([
      ["moves", 1],
      ["stays", 1],
    ]);
    expect(manager.names.filter((name) => name.startsWith("socket."))).toEqual([
      expect.stringMatching(/^socket\.moves\.s\//),
      stays,
    ]);
    expect(manager.store).toHaveLength(3);
    expect(said(manager)).toMatch(
      new RegExp(`no berth uses .*socket\\.moves\\.s/.*tcp://127.0.0.1:${moved}\\): closed`),
    );
    expect(said(manager)).toMatch(new RegExp(`no berth uses .*socket\\.goes\\.s/.*udp://127.0.0.1:${gone}\\): closed`));
    expect(said(manager)).toMatch(/berth goes: the stashed state was closed/);
  });

  it("is followed by one that ends the lease of a tenant that died meanwhile, and sets its socket right", async () => {
    await using manager = new FakeManager({ max: 64 });
    const port = await freePort();
    manager.config("a.toml", `[sockets.s]\nlisten = ["tcp://127.0.0.1:${port}"]\n`);
    await manager.start();
    const tenant = await Puppet.connect(manager.socket);
    await tenant.acquire("a");
    await tenant.do("held(b.fds[0]).shutdown(socket.SHUT_RDWR)");
    await manager.end();
    await tenant.kill();
    await manager.start();
    expect(await list(manager)).toMatchObject([{ name: "a", state: "vacant", kept: 1 }]);
    // Once, although the store and the record beside the socket both have the lease.
    expect(said(manager).match(/pid \d+ no longer has it: it exited while no broker was running/g)).toHaveLength(1);
    // Soon after: it is repaired in the background.
    await expect.poll(() => connected(port).then((socket) => socket.destroy().destroyed)).toBe(true);
  });

  it.each([
    ["as they were stored", (manager: FakeManager) => manager.store],
    ["the newcomer's first", (manager: FakeManager) => manager.store.reverse()],
  ])("is followed by one that goes on with a handover: it gets the leases %s", async (_, order) => {
    await using manager = new FakeManager({ max: 64 });
    manager.config("a.toml", '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
    await manager.start();
    await using old = await Puppet.connect(manager.socket);
    await using young = await Puppet.connect(manager.socket);
    const leases = [await old.acquire("a"), await young.acquire("a", "must")];
    const during = await list(manager);
    expect(during).toMatchObject([{ state: "handover", lease: { id: leases[0] }, kept: 5 }]);
    await manager.end();
    order(manager);
    await manager.start();
    expect(await list(manager)).toEqual(during);
    await reconnect(young, manager);
    expect((await young.call("Ready", { lease: leases[1] })).error).toBeUndefined();
    expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { id: leases[1] }, ready: true, kept: 3 }]);
  });

  it("has only the new socket in the store, where a tenant had spoilt the old one", async () => {
    await using manager = new FakeManager({ max: 64 });
    const port = await freePort();
    manager.config("a.toml", `[sockets.s]\nlisten = ["udp://127.0.0.1:${port}"]\n`);
    await manager.start();
    const stored = (): string[] => manager.names.filter((name) => name.startsWith("socket.a."));
    const before = stored();
    await using tenant = await Puppet.connect(manager.socket);
    await tenant.acquire("a");
    await tenant.do("s = held(b.fds[0]); s.connect(('127.0.0.1', 9)); s.shutdown(socket.SHUT_RDWR)");
    await tenant.kill();
    await manager.until(() => said(manager).includes("socket s was left unusable by the server"));
    // A stored copy of the old socket would keep its address in use.
    expect(said(manager)).toContain("it was opened again");
    await manager.until(() => stored().length === 1 && stored().every((name) => !before.includes(name)));
    await manager.end();
    await manager.start();
    expect(await list(manager)).toMatchObject([{ name: "a", state: "vacant", kept: 1 }]);
    expect(said(manager)).not.toContain("unusable");
  });

  it("loses nothing to a configuration that cannot be read: the next one that can takes it all", async () => {
    await using manager = new FakeManager({ max: 64 });
    manager.config("a.toml", '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
    await manager.start();
    await using tenant = await Puppet.connect(manager.socket);
    await tenant.acquire("a");
    const [berths, names] = [await list(manager), manager.names];
    await manager.end();
    manager.config("a.toml", "nonsense");
    await manager.start();
    expect(await list(manager)).toMatchObject([{ state: "occupied", descriptors: [], problems: [{ line: 1 }] }]);
    await manager.end();
    manager.config("a.toml", '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
    await manager.start();
    expect([await list(manager), manager.names]).toEqual([berths, names]);
  });

  it("has told before what does not fit a store that is too small, and a reload that makes room is used", async () => {
    await using manager = new FakeManager({ max: 2 });
    manager.config("a.toml", '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
    manager.config("b.toml", '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
    await manager.start();
    await manager.until(() => said(manager).includes("keeps 2 descriptors and no more"));
    expect(said(manager)).toMatch(
      /so control.socket\S+ and what comes after it are lost .*: set FileDescriptorStoreMax=64/,
    );
    expect((await list(manager)).map(({ kept }) => kept)).toEqual([1, 1]);
    expect(manager.store).toHaveLength(2);
    rmSync(`${manager.folder.path}/config/b.toml`);
    manager.child?.kill("SIGHUP");
    await manager.until(() => manager.names.some((name) => name.startsWith("control.")));
    expect((await list(manager)).map(({ name, kept }) => [name, kept])).toEqual([["a", 1]]);
  });

  it("stores no more stashes than leave room for every lease", async () => {
    await using manager = new FakeManager({ max: 16 });
    for (const name of ["a", "b"]) manager.config(`${name}.toml`, '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
    await manager.start();
    await using hoarder = await Puppet.connect(manager.socket);
    const lease = await hoarder.acquire("a");
    for (let at = 0; at < 20; at++) await hoarder.call("Stash", { lease, name: `s${at}` }, "[os.memfd_create('x')]");
    await using other = await Puppet.connect(manager.socket);
    await other.acquire("b");
    await manager.until(() => said(manager).includes("keeps 16 descriptors and no more"));
    // Two sockets of the broker; a socket and two leases for each berth; the rest is for stashes.
    expect(manager.names.filter((name) => name.startsWith("stash."))).toHaveLength(16 - 2 - 2 * (1 + 2 * 2));
    const berths = await list(manager);
    expect(berths.map(({ state }) => state)).toEqual(["occupied", "occupied"]);
    await manager.end();
    await manager.start();
    expect((await list(manager)).map((view) => view.lease)).toEqual(berths.map((view) => view.lease));
  });
});

describe("killed at the very step", needs("root", "strace"), () => {
  // What a grant does: a page of facts, into the store with the pidfd, and then the reply.
  it.each([
    ["memfd_create", 1],
    ["pwrite64", 1],
    ["sendmsg", 1],
    ["sendmsg", 2],
  ] as const)("%s, number %i, of a grant: the tenant has the lease it was told of, or none", async (syscall, nth) => {
    await using manager = new FakeManager({ max: 64 });
    manager.config("a.toml", '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n');
    await manager.start();
    await using tenant = await Puppet.connect(manager.socket);
    const stop = await inject(manager.child?.pid ?? -1, syscall, `signal=SIGKILL:when=${nth}`);
    const told = await tenant.do('b.send("Acquire", {"berth": "a"}); result = b.receive()');
    await manager.exited();
    await stop();
    expect(told).toBeNull();
    await manager.end();
    await manager.start();
    const [berth] = await list(manager);
    await reconnect(tenant, manager);
    const lease = await tenant.acquire("a");
    // It is in the store from the moment it was sent there, which is before anybody hears of it.
    if (syscall === "sendmsg" && nth === 2) expect(berth?.lease?.id).toBe(lease);
    else expect(berth?.lease).toBeUndefined();
    expect(await list(manager)).toMatchObject([{ lease: { id: lease, pid: tenant.pid }, kept: 3 }]);
    expect(manager.store).toHaveLength(4);
  });

  it("leaves roots to the next, which hands them out as they are (needs root)", needs("root"), async () => {
    await using manager = new FakeManager({ max: 64 });
    manager.folder.write({ "image/etc/motd": "image" });
    const image = `${manager.folder.path}/image`;
    manager.config("a.toml", `[root]\nimage = "${image}"\nstate = "volatile"\n`);
    manager.config("b.toml", `[root]\nimage = "${image}"\n`);
    const state = ["--state", `${manager.folder.path}/state`];
    await manager.start(state);
    await using tenant = await Puppet.connect(manager.socket);
    for (const berth of ["a", "b"]) {
      await tenant.acquire(berth);
      await tenant.do('os.close(os.open("mine", os.O_CREAT, dir_fd=b.fds[-1]))');
    }
    const kept = await list(manager);
    expect(kept).toMatchObject([{ kept: 4 }, { kept: 4, root: { images: [image], strategy: "idmap" } }]);
    for (let n = 0; n < 2; n++) {
      await manager.end();
      await manager.start(state);
      expect(await list(manager)).toEqual(kept);
    }
    await tenant.do(`b = Broker(${JSON.stringify(manager.socket)})`);
    for (const berth of ["a", "b"]) {
      const lease = await tenant.acquire(berth);
      expect(await tenant.do('result = sorted(os.listdir("/proc/self/fd/%d" % b.fds[-1]))')).toEqual(["etc", "mine"]);
      await tenant.do("[os.close(fd) for fd in b.fds]; b.fds = []");
      await tenant.call("Release", { lease });
    }
    await manager.until(() => manager.names.length === 1);
    await tenant.kill();
    await using next = await Puppet.connect(manager.socket);
    await next.acquire("a");
    expect(await next.do('result = os.listdir("/proc/self/fd/%d" % b.fds[-1])')).toEqual(["etc"]);
  });
});
