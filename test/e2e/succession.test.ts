/** A broker that was asked to hand over everything: it does, or goes on as if nobody had asked. */
import { chmodSync, existsSync, lstatSync, mkdirSync, rmdirSync } from "node:fs";
import { constants } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { Broker } from "../../src/broker/broker.ts";
import { Predecessor } from "../../src/broker/restart/takeover-client.ts";
import { BerthError } from "../../src/errors.ts";
import { native } from "../../src/native.ts";
import { POLLIN } from "../../src/net/socket-constants.ts";
import { startBroker, TestFolder } from "../support/broker.ts";
import { Dynasty } from "../support/dynasty.ts";
import { expectFdsAgain, leaksNothing, openFds, settledFds } from "../support/fds.ts";
import { guardsEnded } from "../support/guards.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";
import { boundSocket } from "../support/sockets.ts";
import { confirm, gaveUp, lasting, list, patiently, receiveAll, said, takeOver } from "../support/succession.ts";

const { EMFILE } = constants.errno;

leaksNothing("soon");

describe("a broker goes on as if nothing had been asked", { timeout: 60_000 }, () => {
  const withTenant = async (test: (dynasty: Dynasty, check: () => Promise<void>) => Promise<void>): Promise<void> => {
    await using dynasty = new Dynasty();
    const port = await freePort();
    const path = `${dynasty.folder.path}/s`;
    dynasty.config({ "a.toml": `[sockets.s]\nlisten = ["tcp://127.0.0.1:${port}", "unix://${path}"]\n` });
    const old = await dynasty.start();
    await using tenant = await Puppet.connect(old.socket);
    const lease = await tenant.acquire("a");
    await tenant.call("Stash", { lease, name: "players" }, '[os.memfd_create("players")]');
    await guardsEnded(old.pid);
    const fds = await settledFds(old.pid);
    const berths = await list(old.socket);
    const ino = lstatSync(path, { bigint: true });
    await test(dynasty, async () => {
      await expectFdsAgain(fds, old.pid);
      expect(await list(old.socket)).toEqual(berths);
      expect(lstatSync(path, { bigint: true })).toMatchObject({ ino: ino.ino, mode: ino.mode });
      (await connected(port)).destroy();
      // It answers on the very connection that was open all the time.
      expect(lasting((await tenant.call("List")).parameters["berths"] as object[])).toEqual(berths);
      expect(await tenant.acquire("a")).toBe(lease);
    });
    await tenant.kill();
    await expect.poll(async () => (await list(old.socket)).map(({ state }) => state), patiently).toEqual(["vacant"]);
    old.child.kill("SIGTERM");
    await old.exited;
    expect([old.child.exitCode, existsSync(path), existsSync(old.socket)]).toEqual([0, false, false]);
  };

  it("when the other one goes with all it was given, or without having looked at it", () =>
    withTenant(async ({ broker }, check) => {
      for (const looks of [true, false]) {
        using peer = await RawPeer.connect(broker.socket);
        await peer.send(takeOver);
        const names = looks ? await receiveAll(peer) : [];
        if (looks) {
          expect(names).toHaveLength(peer.fds.length);
          expect(names.map((name) => name.split("/")[0]).sort()).toEqual(
            [
              ...[
                "control.socket",
                "notify.socket",
                "notify-name.socket",
                "agent.socket",
                "lock.broker",
                "process.broker",
                "stash.a",
              ],
              ...["lease.a", "lease.a", "socket.a.s", "socket.a.s"],
            ].sort(),
          );
        }
        peer.close();
        await expect.poll(() => broker.log.filter(gaveUp), patiently).toHaveLength(looks ? 1 : 2);
        await check();
      }
    }));

  it("when the other one has an error in its configuration: it is not even asked", () =>
    withTenant(async (dynasty, check) => {
      const old = dynasty.broker;
      dynasty.config({ "b.toml": "nonsense" });
      const heir = dynasty.launch(["--replace", "must"]);
      await heir.closed;
      expect([heir.child.exitCode, said(heir)]).toEqual([
        1,
        expect.stringContaining("the configuration has 1 problem"),
      ]);
      expect(said(old)).not.toContain("takes over");
      await check();
    }));

  it("when the other one cannot open what its configuration asks for, and has set other options before", () =>
    withTenant(async (dynasty, check) => {
      const old = dynasty.broker;
      const taken = await freePort();
      await using other = await startBroker({ "x.toml": `[sockets.s]\nlisten = ["tcp://127.0.0.1:${taken}"]\n` });
      const path = `${dynasty.folder.path}/s`;
      dynasty.config({
        "a.toml": `[sockets.s]\nlisten = ["unix://${path}"]\nmode = "0600"\n`,
        "b.toml": `[sockets.s]\nlisten = ["tcp://127.0.0.1:${taken}", "unix://${path}2"]\n`,
      });
      const heir = dynasty.launch(["--replace", "must"]);
      await heir.closed;
      expect(other.broker.berths).toHaveLength(1);
      expect([heir.child.exitCode, said(heir)]).toEqual([1, expect.stringContaining("EADDRINUSE")]);
      expect(existsSync(`${path}2`)).toBe(false);
      await old.logged(gaveUp);
      await check();
    }));

  it("when the other one is killed on the verge of confirming", needs("strace"), () =>
    withTenant(async (dynasty, check) => {
      const old = dynasty.broker;
      // The first message asks for all, the second confirms.
      const inject = ["-f", "-o", "/dev/null", "-e", "trace=sendmsg", "-e", "inject=sendmsg:signal=SIGKILL:when=2"];
      const heir = dynasty.launch(["--replace", "must"], ["strace", ...inject]);
      await heir.closed;
      await old.logged(gaveUp);
      expect(said(heir)).toContain("restored from an earlier broker");
      await check();
    }),
  );

  it("when the other one does not confirm within half a minute; nobody is heard until then", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      await using served = await startBroker({ "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
      using peer = await RawPeer.connect(served.socket);
      using early = await RawPeer.connect(served.socket);
      await early.call("List");
      await peer.send(takeOver);
      await receiveAll(peer);
      expect(() => served.broker.reload()).toThrow(/another broker is taking over/);
      const waiting = [early.call("List"), list(served.socket)];
      vi.advanceTimersByTime(29_000);
      expect(served.log.filter(gaveUp)).toEqual([]);
      vi.advanceTimersByTime(1000);
      expect(served.log.filter(gaveUp)).toHaveLength(1);
      expect(await peer.receive()).toBeUndefined();
      for (const reply of await Promise.all(waiting)) expect(JSON.stringify(reply)).toContain('"vacant"');
      served.broker.reload();
    } finally {
      vi.useRealTimers();
    }
  });

  it("and hears only then that a tenant has died meanwhile", async () => {
    await using served = await startBroker({ "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    await using tenant = await Puppet.connect(served.socket);
    await tenant.acquire("a");
    using peer = await RawPeer.connect(served.socket);
    await peer.send(takeOver);
    const names = await receiveAll(peer);
    const pidfd = peer.fds.find((_, index) => names[index]?.startsWith("lease."));
    await tenant.kill();
    expect(native.pollFor(pidfd?.fd ?? -1, POLLIN, 10_000) & POLLIN).toBe(POLLIN);
    // The first may be over before the loop asks the kernel again.
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect(served.broker.berths).toMatchObject([{ state: "occupied" }]);
    peer.close();
    await expect.poll(() => served.broker.berths, patiently).toMatchObject([{ state: "vacant" }]);
  });

  it.each([
    ["for there is no descriptor for a copy", "dup"],
    ["for there is no descriptor for its own pidfd", "pidfdOpen"],
  ] as const)("when it cannot hand over everything, %s", async (_, call) => {
    let isShort = false;
    const scarce = (fd: number): number => (isShort ? -EMFILE : native[call](fd));
    await using served = await startBroker(
      { "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' },
      { sys: { ...native, [call]: scarce } },
    );
    await using tenant = await Puppet.connect(served.socket);
    const lease = await tenant.acquire("a");
    await guardsEnded(process.pid);
    using peer = await RawPeer.connect(served.socket);
    await peer.send(takeOver.replace("TakeOver", "Nothing"));
    await peer.receive();
    const before = openFds();
    isShort = true;
    await peer.send(takeOver);
    expect(await peer.receive()).toMatchObject({
      error: "io.berthd.Succession.Unavailable",
      parameters: { message: expect.stringMatching(/^not everything could be handed over: .*EMFILE/) },
    });
    isShort = false;
    expect(served.log.filter(gaveUp)).toHaveLength(1);
    expect(peer.fds).toEqual([]);
    await expectFdsAgain(before);
    // It answers others, sees its tenant exit, and hands over when it is asked again.
    expect(await tenant.acquire("a")).toBe(lease);
    await tenant.kill();
    await expect.poll(() => served.broker.berths, patiently).toMatchObject([{ state: "vacant" }]);
    await peer.send(takeOver);
    expect(await receiveAll(peer)).toHaveLength(peer.fds.length);
    expect(peer.fds.length).toBeGreaterThan(0);
  });

  it("when it does not end at the other one's wish, which then leaves nothing open and no path", async () => {
    using folder = new TestFolder({ "config/a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    const socket = `${folder.path}/broker.sock`;
    const config = [`${folder.path}/config`];
    // The old one has no socket for sd_notify(3), so the new one opens one.
    const notify = `${socket}.notify`;
    mkdirSync(notify);
    const log: string[] = [];
    await using broker = await Broker.start({
      config,
      socket,
      log: (_, __, fields) => log.push(String(fields?.["event"])),
    });
    rmdirSync(notify);
    await guardsEnded(process.pid);
    const [before, berths] = [openFds(), broker.berths];
    const predecessor = await Predecessor.find(socket);
    if (predecessor === undefined) throw new Error("nobody listens");
    const opened: boolean[] = [];
    vi.spyOn(predecessor, "confirm").mockImplementation(async () => {
      opened.push(existsSync(notify));
      throw new BerthError("BROKER_RUNNING", "it goes on");
    });
    await expect(Broker.start({ config, socket, predecessor })).rejects.toThrow("it goes on");
    await expect.poll(() => log).toContain("succession-failed");
    // What earlier tests of this process had open may be closed meanwhile.
    const more = (): string[] => openFds().filter((one) => !before.includes(one));
    await expect.poll(more, { timeout: 30_000 }).toEqual([]);
    expect([opened, existsSync(notify), broker.berths]).toEqual([[true], false, berths]);
    expect(await list(socket)).toMatchObject([{ name: "a", state: "vacant" }]);
  });

  it("or is stopped itself meanwhile: then it ends, and leaves all to the one that has it", async () => {
    const served = await startBroker({ "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    using peer = await RawPeer.connect(served.socket);
    await peer.send(takeOver);
    await receiveAll(peer);
    await served.broker.close();
    expect(existsSync(served.socket)).toBe(true);
    expect(await peer.receive()).toBeUndefined();
    await served[Symbol.asyncDispose]();
  });
});

describe("who may take over", () => {
  it("and from whom: only root's and one's own user's word is taken (needs root)", needs("root"), async () => {
    using folder = new TestFolder();
    chmodSync(folder.path, 0o777);
    const path = `${folder.path}/broker.sock`;
    process.seteuid?.(65_534);
    using impostor = boundSocket(`unix://${path}`, 5);
    process.seteuid?.(0);
    expect(impostor.open).toBe(true);
    await expect(Predecessor.find(path)).rejects.toMatchObject({
      code: "BROKER_RUNNING",
      message: expect.stringMatching(/it belongs to uid 65534; only root's or this user's broker is trusted$/),
    });
  });

  it("root and the broker's user alone: anybody else disturbs nothing (needs root)", needs("root"), async () => {
    await using served = await startBroker({ "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    using stranger = await RawPeer.connect(served.socket, 65_534);
    for (const call of [takeOver, confirm]) {
      await stranger.send(call);
      expect(await stranger.receive()).toMatchObject({ error: "org.varlink.service.PermissionDenied" });
    }
    expect(stranger.fds).toEqual([]);
    expect(served.log.filter(({ event }) => event === "succession")).toEqual([]);
    expect((await list(served.socket)).map(({ name }) => name)).toEqual(["a"]);
  });

  it("one at a time, and whoever confirms must have been given something", async () => {
    await using served = await startBroker({ "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    using peer = await RawPeer.connect(served.socket);
    await peer.send(confirm);
    const refused = { error: "io.berthd.Succession.Unavailable" };
    expect(await peer.receive()).toMatchObject({
      ...refused,
      parameters: { message: "nothing was handed over on this connection" },
    });
    await peer.send(takeOver.replace('"more":true', '"more":false'));
    expect(await peer.receive()).toMatchObject({ error: "org.varlink.service.ExpectedMore" });
    await peer.send(takeOver + takeOver);
    await receiveAll(peer);
    expect(await peer.receive()).toMatchObject({
      ...refused,
      parameters: { message: expect.stringContaining("another broker is already taking over") },
    });
  });

  it("nobody, from a broker that did not bind its control socket itself", async () => {
    using folder = new TestFolder();
    await using _ = await Broker.start({ socket: boundSocket(`unix://${folder.path}/b`, 8), berths: [] });
    using predecessor = await Predecessor.find(`${folder.path}/b`);
    await expect(predecessor?.takeOver()).rejects.toMatchObject({
      code: "BROKER_RUNNING",
      message: expect.stringMatching(
        /^cannot take over from the broker with pid \d+: another program passed its control socket/,
      ),
    });
  });

  it("also another broker of the same process: the old one closes, and says so", async () => {
    let replaced = 0;
    await using served = await startBroker(
      { "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' },
      { onReplaced: () => replaced++ },
    );
    const before = served.broker.berths;
    const predecessor = await Predecessor.find(served.socket);
    if (predecessor === undefined) throw new Error("nobody listens");
    const { socket, folder } = served;
    await using heir = await Broker.start({ config: [`${folder.path}/config`], socket, predecessor });
    served.broker.reload();
    expect([replaced, served.broker.berths, lasting(heir.berths)]).toEqual([1, [], lasting(before)]);
    expect((await list(socket)).map(({ name }) => name)).toEqual(["a"]);
  });

  it("also when the old one is closed as soon as it says that it was replaced", async () => {
    const closing: Promise<void>[] = [];
    await using served = await startBroker(
      { "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' },
      { onReplaced: () => closing.push(served.broker.close()) },
    );
    const predecessor = await Predecessor.find(served.socket);
    const { socket, folder } = served;
    await using heir = await Broker.start({
      config: [`${folder.path}/config`],
      socket,
      ...(predecessor !== undefined && { predecessor }),
    });
    await Promise.all(closing);
    expect([closing.length, heir.berths.map(({ name }) => name)]).toEqual([1, ["a"]]);
    expect((await list(socket)).map(({ name }) => name)).toEqual(["a"]);
  });
});
