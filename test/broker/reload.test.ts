import { once } from "node:events";
import { closeSync, lstatSync, openSync, readlinkSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Native, native } from "../../src/native.ts";
import { SO_MARK } from "../../src/net/socket-constants.ts";
import { spawnBroker, startBroker, type TestBroker, TestFolder } from "../support/broker.ts";
import { expectFdsAgain, openFds, settledFds } from "../support/fds.ts";
import { frame, RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";

interface Event {
  readonly event: string;
  readonly berth: { readonly name: string };
}

const tcp = (port: number, more = ""): string => `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n${more}`;

/** What is behind the descriptors of a berth, as this process gets them: `socket:[inode]`. */
async function inodes({ socket }: { readonly socket: string }, berth: string): Promise<string[]> {
  using peer = await RawPeer.connect(socket);
  const reply = await peer.call("Acquire", { berth });
  expect(reply?.error).toBeUndefined();
  return peer.fds.map(({ fd }) => readlinkSync(`/proc/self/fd/${fd}`));
}

function rewrite(test: TestBroker, files: Record<string, string | undefined>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join("config", name);
    if (text === undefined) rmSync(join(test.folder.path, path));
    else test.folder.write({ [path]: text });
  }
  test.broker.reload();
}

const failure = (run: () => void): string => {
  try {
    run();
  } catch (error) {
    return String(error);
  }
  return "";
};

describe("a reload", () => {
  it("of a broker that was closed opens nothing, and starts no server", async () => {
    const before = await settledFds();
    {
      await using test = await startBroker({ "a.toml": tcp(0) });
      await test.broker.close();
      rewrite(test, { "b.toml": tcp(0, '[server]\ncommand = ["/bin/true"]\nuser = 65534\nstart = "on-demand"\n') });
      expect(test.broker.berths).toEqual([]);
      expect(openFds()).toEqual(before);
    }
  });

  it("shows on each further connection of a tenant, and so does a new lease", async () => {
    const [port, other] = [await freePort(), await freePort()];
    await using test = await startBroker({ "a.toml": tcp(port) });
    const ask = async () => {
      using peer = await RawPeer.connect(test.socket);
      const reply = await peer.call("Acquire", { berth: "a" });
      return { ...reply?.parameters, inodes: peer.fds.map(({ fd }) => readlinkSync(`/proc/self/fd/${fd}`)) };
    };
    const first = await ask();
    expect(first).toMatchObject({ descriptors: [{ name: "game", index: 0 }] });
    expect(await ask()).toEqual(first);
    rewrite(test, { "a.toml": tcp(port, `[sockets.query]\nlisten = ["udp://127.0.0.1:${other}"]\n`) });
    const second = await ask();
    expect(second).toMatchObject({
      lease: Reflect.get(first, "lease"),
      descriptors: [
        { name: "game", index: 0, address: `tcp://127.0.0.1:${port}` },
        { name: "query", index: 1, address: `udp://127.0.0.1:${other}` },
      ],
    });
    expect(second.inodes).toEqual([...first.inodes, expect.stringMatching(/^socket:/)]);
    expect(await ask()).toEqual(second);
    using peer = await RawPeer.connect(test.socket);
    await peer.call("Release", { lease: Reflect.get(first, "lease") });
    const third = await ask();
    expect(third).toMatchObject({ lease: expect.not.stringMatching(String(Reflect.get(first, "lease"))) });
    expect(third.inodes).toEqual(second.inodes);
  });

  it("keeps unchanged sockets with their queued connections, and opens, closes and changes the rest", async () => {
    const before = await settledFds();
    const [same, gone, fresh, moved] = [await freePort(), await freePort(), await freePort(), await freePort()];
    {
      await using test = await startBroker({
        "same.toml": tcp(same),
        "gone.toml": tcp(gone),
        "moved.toml": tcp(moved),
      });
      using watcher = await RawPeer.connect(test.socket);
      await watcher.send(frame("Watch", {}, { more: true }));
      const events = async (count: number) => {
        const told = [];
        for (let n = 0; n < count; n++) {
          const parameters: Readonly<Record<string, unknown>> = { ...(await watcher.receive())?.parameters };
          const { event, berth } = parameters as Readonly<Record<string, unknown>> & Event;
          told.push(`${event} ${berth.name}`);
        }
        return told.toSorted();
      };
      await events(3);
      const socket = await inodes(test, "same");
      await events(1);
      const waiting = await connected(same);
      rewrite(test, {
        "same.toml": tcp(same, "backlog = 7\n"),
        "gone.toml": undefined,
        "new.toml": tcp(fresh),
        "moved.toml": tcp(gone),
      });
      expect(await events(4)).toEqual(["added new", "changed moved", "changed same", "removed gone"]);
      expect(await inodes(test, "same")).toEqual(socket);
      (await connected(fresh)).destroy();
      (await connected(gone)).destroy();
      await expect(connected(moved)).rejects.toThrow("ECONNREFUSED");
      await using tenant = await Puppet.connect(test.socket);
      using own = await RawPeer.connect(test.socket);
      const lease = test.broker.berths.find(({ name }) => name === "same")?.lease?.id;
      await own.call("Release", { lease });
      await tenant.acquire("same");
      await tenant.do("s = held(b.fds[0]); s.settimeout(30); c, a = s.accept(); c.sendall(b'hi')");
      expect(String((await once(waiting, "data"))[0])).toBe("hi");
      waiting.destroy();
    }
    await expectFdsAgain(before);
  });

  it("swaps the addresses of two berths without closing either", async () => {
    const [a, b] = [await freePort(), await freePort()];
    await using test = await startBroker({ "a.toml": tcp(a), "b.toml": tcp(b) });
    const [ofA, ofB] = [await inodes(test, "a"), await inodes(test, "b")];
    rewrite(test, { "a.toml": tcp(b), "b.toml": tcp(a) });
    expect([await inodes(test, "a"), await inodes(test, "b")]).toEqual([ofB, ofA]);
  });

  it("narrows a wildcard to one address of the same port, and widens it again", async () => {
    const port = await freePort();
    const wide = tcp(port).replace("127.0.0.1", "0.0.0.0");
    await using test = await startBroker({ "a.toml": wide });
    rewrite(test, { "a.toml": tcp(port) });
    expect(test.broker.berths[0]?.descriptors[0]?.address).toBe(`tcp://127.0.0.1:${port}`);
    (await connected(port)).destroy();
    rewrite(test, { "a.toml": wide });
    expect(test.broker.berths[0]?.descriptors[0]?.address).toBe(`tcp://0.0.0.0:${port}`);
    (await connected(port)).destroy();
  });

  it("turns a UNIX path into another kind of socket", async () => {
    using folder = new TestFolder();
    const unix = (scheme: string): string => `[sockets.a]\nlisten = ["${scheme}://${folder.path}/s"]\n`;
    await using test = await startBroker({ "a.toml": unix("unix") });
    rewrite(test, { "a.toml": unix("unix-dgram") });
    expect(test.broker.berths[0]?.descriptors[0]).toMatchObject({ kind: "datagram" });
    expect(lstatSync(`${folder.path}/s`).isSocket()).toBe(true);
  });

  it("opens a UNIX socket anew whose path somebody has removed", async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "s");
    await using test = await startBroker({ "a.toml": `[sockets.a]\nlisten = ["unix://${path}"]\n` });
    rmSync(path);
    test.broker.reload();
    const client = connect(path);
    await once(client, "connect");
    client.destroy();
  });

  it("of a configuration with faults changes nothing, and says all of them", async () => {
    const port = await freePort();
    await using test = await startBroker({ "a.toml": tcp(port) });
    const [before, socket] = [test.broker.berths, await inodes(test, "a")];
    const message = failure(() =>
      rewrite(test, { "a.toml": "[sockets.game]\nlisten = 3\nbacklgo = 1\n", "b.toml": "what" }),
    );
    expect(message).toMatch(/a\.toml:2: /);
    expect(message).toMatch(/a\.toml:3: .*backlgo/);
    expect(message).toMatch(/b\.toml:1: /);
    expect(test.broker.berths[0]?.descriptors).toEqual(before[0]?.descriptors);
    expect(await inodes(test, "a")).toEqual(socket);
  });

  it("that needs another program's port changes nothing, and a tenant's next answer is right", async () => {
    const [port, other] = [await freePort(), await freePort()];
    const rival = createServer().listen(other, "127.0.0.1");
    await once(rival, "listening");
    // A number that is free again before the reload: what has to be opened again gets that, and no longer its own.
    const hole = openSync("/dev/null", "r");
    const wide = tcp(port).replace("127.0.0.1", "0.0.0.0");
    await using test = await startBroker({ "a.toml": wide, "keep.toml": tcp(await freePort()) });
    // A tenant with an answer in store, and a second socket that must not come in its place.
    using tenant = await RawPeer.connect(test.socket);
    await tenant.call("Acquire", { berth: "a" });
    await tenant.call("Acquire", { berth: "a" });
    const keep = await inodes(test, "keep");
    await expect.poll(() => test.broker.connections).toBe(1);
    closeSync(hole);
    const before = await settledFds();
    const message = failure(() => rewrite(test, { "a.toml": tcp(port), "b.toml": tcp(other) }));
    expect(message).toMatch(
      /b\.toml:2: berth b, socket game: bind tcp:\/\/127\.0\.0\.1:\d+: EADDRINUSE\n.*`ss -tulpn`/,
    );
    expect(openFds().length).toBe(before.length);
    expect(test.broker.berths.map(({ name }) => name)).toEqual(["a", "keep"]);
    expect(test.broker.berths[0]?.descriptors[0]?.address).toBe(`tcp://0.0.0.0:${port}`);
    expect(await inodes(test, "keep")).toEqual(keep);
    const had = tenant.fds.length;
    await tenant.call("Acquire", { berth: "a" });
    const [now] = await inodes(test, "a");
    expect(readlinkSync(`/proc/self/fd/${tenant.fds[had]?.fd}`)).toBe(now);
    (await connected(port)).destroy();
    rival.close();
    await once(rival, "close");
  });

  it("in which an option cannot be set undoes what it had changed", async () => {
    const before = await settledFds();
    {
      using folder = new TestFolder();
      const path = join(folder.path, "s");
      const unix = (mode: string): string => `[sockets.s]\nlisten = ["unix://${path}"]\nmode = "${mode}"\n`;
      const [port, fresh] = [await freePort(), await freePort()];
      const udp = (more: string): string => `[sockets.u]\nlisten = ["udp://127.0.0.1:${port}"]\n${more}`;
      let lacking = false;
      const setsockopt: Native["setsockopt"] = (fd, level, option, value) =>
        lacking && option === SO_MARK ? -constants.errno.EPERM : native.setsockopt(fd, level, option, value);
      const sys = { ...native, setsockopt };
      await using test = await startBroker({ "a.toml": unix("0600"), "b.toml": udp("") }, { sys });
      const files = { "a.toml": unix("0666"), "b.toml": udp("mark = 5\n"), "c.toml": tcp(fresh) };
      for (const [name, text] of Object.entries(files)) test.folder.write({ [join("config", name)]: text });
      // Without CAP_NET_ADMIN there is no SO_MARK.
      lacking = true;
      const message = failure(() => test.broker.reload());
      expect(message).toContain("setsockopt SO_MARK udp://127.0.0.1");
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(test.broker.berths.map(({ name }) => name)).toEqual(["a", "b"]);
      await expect(connected(fresh)).rejects.toThrow("ECONNREFUSED");
    }
    await expectFdsAgain(before);
  });

  it("on SIGHUP reports what was wrong and goes on serving; then what is right", async () => {
    const port = await freePort();
    await using test = await spawnBroker({ "a.toml": tcp(port) });
    const [socket] = await inodes(test, "a");
    test.folder.write({ "config/b.toml": "[sockets.x]\n" });
    test.child.kill("SIGHUP");
    await test.logged(({ message }) => message.startsWith("the configuration was not reloaded"));
    expect(test.log.map(({ message }) => message).join("\n")).toMatch(
      /b\.toml:1: \[sockets\.x\] has no address to listen on/,
    );
    test.folder.write({ "config/b.toml": tcp(await freePort()) });
    test.child.kill("SIGHUP");
    expect(await test.logged(({ event }) => event === "reloaded")).toMatchObject({ berths: 2 });
    expect((await inodes(test, "a"))[0]).toBe(socket);
  });
});
