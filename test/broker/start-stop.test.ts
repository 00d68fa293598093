import { once } from "node:events";
import { existsSync, lstatSync } from "node:fs";
import { queryObjects } from "node:v8";
import { describe, expect, it } from "vitest";
import { Broker } from "../../src/broker/broker.ts";
import { Session } from "../../src/broker/session/session.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";
import { spawnBroker, startBroker } from "../support/broker.ts";
import { expectFdsAgain, settledFds } from "../support/fds.ts";
import { frame, RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";

const unixBerth = (folder: string, port: number) => ({
  "a.toml": `[sockets.a]\nlisten = ["unix://${folder}/s", "unix-dgram://${folder}/d", "tcp://127.0.0.1:${port}"]\n`,
});

describe("a second broker", () => {
  it("on the same socket, or the same state folder, is refused as BROKER_RUNNING; the first serves on", async () => {
    const before = await settledFds();
    {
      const port = await freePort();
      await using first = await startBroker({ "a.toml": `[sockets.a]\nlisten = ["tcp://127.0.0.1:${port}"]` });
      const state = `${first.folder.path}/state`;
      await using other = await Broker.start({ berths: [], socket: `${first.folder.path}/other`, state });
      expect(other.connections).toBe(0);
      for (const options of [
        { berths: [], socket: first.socket },
        { berths: [], socket: `${first.folder.path}/third`, state },
      ]) {
        await expect(Broker.start(options)).rejects.toMatchObject({
          code: "BROKER_RUNNING",
          message: expect.stringMatching(/another broker is running: it holds .*; stop it, or choose another/),
        });
      }
      expect(existsSync(`${first.folder.path}/third`)).toBe(false);
      using peer = await RawPeer.connect(first.socket);
      expect((await peer.call("Acquire", { berth: "a" }))?.error).toBeUndefined();
      (await connected(port)).destroy();
    }
    await expectFdsAgain(before);
  });

  it("on the same abstract socket is refused too", async () => {
    const socket = `@berthd-test-${await freePort()}`;
    await using first = await Broker.start({ berths: [], socket });
    await expect(Broker.start({ berths: [], socket })).rejects.toMatchObject({ code: "BROKER_RUNNING" });
    using peer = await RawPeer.connect(socket);
    expect((await peer.call("List"))?.parameters).toEqual({ berths: [] });
    expect(first.connections).toBe(1);
  });
});

describe("the end of a broker", () => {
  it.each([
    ["vacant", []],
    ["taken", ["s", "d"]],
  ])("removes its paths and no others; a tenant keeps what it has, and where: %s", async (state, left) => {
    const before = await settledFds();
    await using test = await startBroker({});
    const folder = test.folder.path;
    test.folder.write({
      ...Object.fromEntries(Object.entries(unixBerth(folder, 0)).map(([k, v]) => [`config/${k}`, v])),
    });
    test.broker.reload();
    test.folder.write({ mine: "" });
    using peer = await RawPeer.connect(test.socket);
    const reply = await peer.call("Acquire", { berth: "a" });
    if (state === "vacant") await peer.call("Release", { lease: reply?.parameters["lease"] });
    await test.broker.close();
    expect(await peer.receive()).toBeUndefined();
    expect(["s", "d", "broker.sock"].filter((name) => existsSync(`${folder}/${name}`))).toEqual(left);
    expect(existsSync(`${folder}/mine`)).toBe(true);
    expect(native.listen(peer.fds[0]?.fd ?? -1, 5)).toBe(0);
    await test.broker.close();
    peer.close();
    await expectFdsAgain(before);
  });

  it("by SIGTERM is clean, exit 0; by SIGKILL leaves files that do not hinder the next", async () => {
    const port = await freePort();
    await using first = await spawnBroker({});
    const { path } = first.folder;
    first.folder.write({ "config/a.toml": unixBerth(path, port)["a.toml"] });
    first.child.kill("SIGHUP");
    await first.logged(({ event }) => event === "reloaded");
    const exited = once(first.child, "exit");
    first.child.kill("SIGKILL");
    await exited;
    expect(lstatSync(`${path}/s`).isSocket()).toBe(true);
    const config = [`${path}/config`];
    const next = await Broker.start({ config, socket: first.socket });
    (await connected(port)).destroy();
    using peer = await RawPeer.connect(first.socket);
    expect((await peer.call("List"))?.parameters["berths"]).toHaveLength(1);
    await next.close();
    await using last = await spawnBroker({});
    const ended = once(last.child, "exit");
    last.child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(existsSync(last.socket)).toBe(false);
  });
});

it("a passed control socket that is no listening UNIX socket is refused, and closed", async () => {
  const before = await settledFds();
  for (const [domain, type] of [
    [2, 1],
    [1, 2],
    [1, 1],
  ] as const) {
    const socket = FdHandle.adopt(native.socket(domain, type, 0));
    await expect(Broker.start({ berths: [], socket })).rejects.toMatchObject({ code: "DESCRIPTOR_MISMATCH" });
    expect(socket.open).toBe(false);
  }
  await expectFdsAgain(before);
});

it("a watcher that goes before it was told everything is forgotten", async () => {
  await using test = await startBroker({ "a.toml": "", "b.toml": "" });
  for (let n = 0; n < 50; n++) {
    const peer = await RawPeer.connect(test.socket);
    peer.trySend(frame("Watch", {}, { more: true }));
    peer.close();
  }
  using peer = await RawPeer.connect(test.socket);
  await peer.call("List");
  await expect.poll(() => test.broker.connections).toBe(1);
  // It collects garbage first, so what it counts is held by somebody.
  await expect.poll(() => queryObjects(Session, { format: "count" })).toBeLessThan(5);
});
