/** Roots through a broker: who gets one, when it is made and when it goes, and what is said when it cannot be. */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { launcherPath } from "../../../src/launcher-path.ts";
import { mountsOf } from "../../rootfs/world.ts";
import { startBroker, type TestBroker, TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { Puppet } from "../../support/puppet.ts";

let before: string[];
let images: TestFolder;

beforeEach(() => {
  before = openFds();
  images = new TestFolder({ "one/etc/motd": "one", "two/etc/motd": "two" });
});

afterEach(async () => {
  expect(mountsOf(images.path)).toEqual([]);
  images[Symbol.dispose]();
  await expectFdsAgain(before);
});

/** A broker whose berth `a` has a root of the image `one` and this in its section. */
async function broker(more = "", sockets = ""): Promise<TestBroker> {
  const root = `[root]\nimage = "${images.path}/one"\n${more}`;
  return await startBroker({ "a.toml": `${sockets}${root}` }, { state: join(images.path, "state") });
}

const read = 'fd = os.open("etc/motd", 0, dir_fd=b.fds[-1]); result = os.read(fd, 99).decode(); os.close(fd)';
const write = (text: string): string =>
  `fd = os.open("etc/motd", os.O_WRONLY | os.O_TRUNC, dir_fd=b.fds[-1]); os.write(fd, b"${text}"); os.close(fd)`;

describe("a berth with a root (needs root)", needs("root"), () => {
  it("hands it over after the sockets, with its range, and shows both", async () => {
    await using test = await broker("", '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n');
    expect(test.broker.berths).toEqual([
      expect.objectContaining({
        state: "vacant",
        root: { images: [join(images.path, "one")], state: "persistent" },
        descriptors: [expect.objectContaining({ name: "game" }), { name: "root", kind: "root" }],
      }),
    ]);
    await using puppet = await Puppet.connect(test.socket);
    const { parameters } = await puppet.call("Acquire", { berth: "a" });
    expect(parameters["descriptors"]).toEqual([
      expect.objectContaining({ name: "game", kind: "stream", index: 0 }),
      { name: "root", kind: "root", index: 1 },
    ]);
    const [view] = test.broker.berths;
    expect(view?.root).toEqual({ images: [join(images.path, "one")], state: "persistent", strategy: "idmap" });
    expect(view?.range).toEqual(parameters["range"]);
    expect(view?.range?.count).toBe(65_536);
    expect(await puppet.do(read)).toBe("one");
    expect(await puppet.do("result = os.fstat(b.fds[-1]).st_uid")).toBe(view?.range?.base);
  });

  it("keeps what was written for the next tenant, and gives a volatile one nothing", async () => {
    for (const [state, found] of [
      ["persistent", "mine"],
      ["volatile", "one"],
    ] as const) {
      await using test = await broker(`state = "${state}"`);
      await using first = await Puppet.connect(test.socket);
      await first.acquire("a");
      await first.do(write("mine"));
      await first.kill();
      await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
      await using second = await Puppet.connect(test.socket);
      await second.acquire("a");
      expect(await second.do(read)).toBe(found);
    }
  });

  it("cannot be locked by a stash of a file in it: written, of the image, or a FIFO", async () => {
    await using test = await broker();
    await using first = await Puppet.connect(test.socket);
    const lease = await first.acquire("a");
    for (const path of ["mine", "etc/motd", "fifo"]) {
      const opened = `os.open("${path}", os.O_RDWR | os.O_CREAT, dir_fd=b.fds[-1])`;
      if (path === "fifo") await first.do('os.mkfifo("fifo", dir_fd=b.fds[-1])');
      const refused = await first.call("Stash", { lease, name: "it" }, `[${opened}]`);
      expect(refused.parameters["message"]).toContain("a file of a berth's root");
    }
    await first.kill();
    await using second = await Puppet.connect(test.socket);
    await second.acquire("a");
    expect(await second.do('result = os.path.exists("/proc/self/fd/%d/mine" % b.fds[-1])')).toBe(true);
  });

  it("is shared with a newcomer in a handover, and lasts as long as one of them", async () => {
    await using test = await broker('state = "volatile"');
    await using first = await Puppet.connect(test.socket);
    await first.acquire("a");
    await first.do(write("shared"));
    await using second = await Puppet.connect(test.socket);
    const lease = await second.acquire("a", "must");
    expect(await second.do(read)).toBe("shared");
    await second.call("Ready", { lease });
    await first.kill();
    // Each call brings a mount of its own, of the same files.
    await second.acquire("a");
    expect(await second.do(`${read}; assert os.fstat(b.fds[-1]).st_dev == os.fstat(b.fds[-2]).st_dev`)).toBe("shared");
    await second.call("Release", { lease });
    expect(test.broker.berths[0]).toMatchObject({ state: "vacant", root: { state: "volatile" } });
    await using third = await Puppet.connect(test.socket);
    await third.acquire("a");
    expect(await third.do(read)).toBe("one");
  });

  it("has another image from the next lease on, with what was written before", async () => {
    await using test = await broker();
    await using first = await Puppet.connect(test.socket);
    const lease = await first.acquire("a");
    await first.do('os.close(os.open("kept", os.O_CREAT, dir_fd=b.fds[-1]))');
    test.folder.write({ "config/a.toml": `[root]\nimage = "${images.path}/two"\n` });
    test.broker.reload();
    await first.acquire("a");
    expect(await first.do(read)).toBe("one");
    await first.do("[os.close(fd) for fd in b.fds]; b.fds = []");
    await first.call("Release", { lease });
    await first.acquire("a");
    expect(await first.do(read)).toBe("two");
    expect(await first.do('result = sorted(os.listdir("/proc/self/fd/%d" % b.fds[-1]))')).toEqual(["etc", "kept"]);
  });

  it("that cannot be made is refused in plain words, and nobody has a lease then", async () => {
    await using test = await broker();
    rmSync(join(images.path, "one"), { recursive: true });
    await using puppet = await Puppet.connect(test.socket);
    for (const method of ["Acquire", "Launch"]) {
      expect(await puppet.call(method, { berth: "a", ...(method === "Launch" && { command: ["true"] }) })).toEqual({
        error: "io.berthd.Broker.RootUnavailable",
        parameters: {
          berth: "a",
          message: expect.stringMatching(/^the root of berth "a" is not available: there is no folder .*\/one; /),
        },
      });
    }
    expect(test.broker.berths[0]).toMatchObject({ state: "vacant" });
  });

  it("goes with its berth, and with its broker, but not with what a tenant has of it", async () => {
    const held = (): string[] => openFds().filter((fd) => fd.includes(images.path));
    await using puppet = await (async () => {
      await using test = await broker('state = "volatile"');
      const tenant = await Puppet.connect(test.socket);
      await tenant.acquire("a");
      expect(held()).not.toEqual([]);
      test.folder.write({ "config/a.toml": "", "config/b.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
      test.broker.reload();
      return tenant;
    })();
    await expect.poll(held).toEqual([]);
    expect(await puppet.do(read)).toBe("one");
  });

  it("reaches a server through berth-launch, by name, by number and by path", async () => {
    const server = 'command = ["sh", "-c", "echo $LISTEN_FDNAMES {fd:root}; cat {root}/etc/motd"]\nuser = "nobody"\n';
    await using test = await broker(`[server]\n${server}`, '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n');
    const launcher = spawn(launcherPath(), ["a"], { env: { PATH: process.env["PATH"], BERTHD_SOCKET: test.socket } });
    const said: string[] = [];
    for await (const text of launcher.stdout.setEncoding("utf8")) said.push(String(text));
    expect(said.join("")).toBe("game:root 4\none");
  });
});

/** What keeps a root from being built: a process that has the last one open, and no lease. */
async function leftBehind(test: TestBroker): Promise<Puppet> {
  const left = await Puppet.connect(test.socket);
  const lease = await left.acquire("a");
  await left.call("Release", { lease });
  return left;
}

/**
 * Who has asked for the berth, and for `more`, and waits; the `other` is served meanwhile. The broker waits five
 * seconds.
 */
async function asking(test: TestBroker, other: Puppet, more = "pass"): Promise<Puppet> {
  const waiter = await Puppet.connect(test.socket);
  await waiter.do(`b.send("Acquire", {"berth": "a"}); ${more}`);
  expect(await other.call("List")).toMatchObject({ parameters: { berths: [{ name: "a", state: "vacant" }] } });
  return waiter;
}

describe("a root that has to be waited for (needs root)", needs("root"), () => {
  it("is given up when its folder is removed, and the broker keeps serving", async () => {
    await using test = await broker();
    await using left = await leftBehind(test);
    await using other = await Puppet.connect(test.socket);
    await using waiter = await asking(test, other);
    rmSync(join(images.path, "state/roots/a/upper"), { recursive: true });
    await left.kill();
    expect(await waiter.do("result = b.receive()")).toMatchObject({ parameters: { lease: expect.any(String) } });
    expect(await other.call("List")).toMatchObject({ parameters: { berths: [{ name: "a", state: "occupied" }] } });
  });

  it("is free again when it was left in the queues of the berth's own UNIX sockets", async () => {
    const [datagram, stream] = [join(images.path, "d"), join(images.path, "l")];
    const sockets = `[sockets.d]\nlisten = ["unix-dgram://${datagram}"]\n[sockets.l]\nlisten = ["unix://${stream}"]\n`;
    await using test = await broker("", sockets);
    await using left = await Puppet.connect(test.socket);
    await left.acquire("a");
    await left.do(`import socket
for kind, path in ((socket.SOCK_DGRAM, "${datagram}"), (socket.SOCK_STREAM, "${stream}")):
    s = socket.socket(socket.AF_UNIX, kind)
    s.connect(path)
    socket.send_fds(s, [b"x"], [b.fds[-1]])`);
    await left.kill();
    await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
    await using next = await Puppet.connect(test.socket);
    await next.acquire("a");
    expect(await next.do(read)).toBe("one");
    expect(test.log.filter(({ event }) => event === "queue-emptied")).toMatchObject([
      { socket: "d", dropped: 1 },
      { socket: "l", dropped: 1 },
    ]);
  });

  it("keeps the order of replies on its connection, and delays no other client", async () => {
    await using test = await broker();
    await using left = await leftBehind(test);
    await using other = await Puppet.connect(test.socket);
    await using waiter = await asking(test, other, 'b.send("List"); b.send("Ready", {"lease": "none"})');
    await left.kill();
    const replies = await waiter.do("result = [b.receive() for _ in range(3)]");
    expect(replies).toMatchObject([
      { parameters: { descriptors: [{ name: "root", index: 0 }] } },
      { parameters: { berths: [{ name: "a", state: "occupied" }] } },
      { error: "io.berthd.Broker.NoSuchLease" },
    ]);
    expect(await waiter.do(read)).toBe("one");
  });

  it("is given to the first who asked, and the second hears who has it", async () => {
    await using test = await broker();
    await using left = await leftBehind(test);
    await using first = await Puppet.connect(test.socket);
    await using second = await Puppet.connect(test.socket);
    await first.do('b.send("Acquire", {"berth": "a"})');
    // The same connection's List comes back only after its Acquire; another's shows that both have been read.
    await second.do('b.send("Acquire", {"berth": "a"})');
    await expect.poll(() => test.broker.connections).toBe(3);
    await left.kill();
    expect(await first.do("result = b.receive()")).toHaveProperty("parameters.lease");
    expect(await second.do("result = b.receive()")).toMatchObject({ error: "io.berthd.Broker.BerthOccupied" });
  });

  it("is dropped when the client that asked for it has disconnected", async () => {
    await using test = await broker();
    await using left = await leftBehind(test);
    await using waiter = await Puppet.connect(test.socket);
    await waiter.do('b.send("Acquire", {"berth": "a"}); b.send("List"); b.socket.close()');
    await expect.poll(() => test.broker.connections).toBe(1);
    await left.kill();
    await using next = await Puppet.connect(test.socket);
    await next.acquire("a");
    expect(test.broker.berths[0]?.lease?.pid).toBe(next.pid);
  });

  it("is still sent to a client that has shut down its sending side", async () => {
    await using test = await broker();
    await using left = await leftBehind(test);
    await using waiter = await Puppet.connect(test.socket);
    await waiter.do('b.send("Acquire", {"berth": "a"}); b.socket.shutdown(socket.SHUT_WR)');
    await left.kill();
    expect(await waiter.do("result = b.receive()")).toHaveProperty("parameters.lease");
  });

  it("is refused when its present holder keeps it open", async () => {
    await using test = await broker();
    await using left = await leftBehind(test);
    await using waiter = await Puppet.connect(test.socket);
    const { error, parameters } = await waiter.call("Acquire", { berth: "a" });
    expect(error).toBe("io.berthd.Broker.RootUnavailable");
    expect(parameters["message"]).toContain("a process of an earlier tenant still uses the root");
    expect(left.pid).toBeGreaterThan(0);
  });
});

it("a berth with a root needs a state folder", async () => {
  const started = startBroker({ "a.toml": '[root]\nimage = "x"\n' }, { strict: true });
  await expect(started).rejects.toThrow(/a has a root, but this broker has no folder .*\n +start it with --state DIR/);
});
