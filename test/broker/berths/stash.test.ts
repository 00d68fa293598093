import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { isSameOpenFile, unkeepable, unsuitable } from "../../../src/broker/berths/berth/stash.ts";
import { parseMounts, whyNotKept } from "../../../src/broker/berths/berth/stash-file.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { AF_UNIX, encodeSockaddr } from "../../../src/net/address.ts";
import { SOCK_STREAM } from "../../../src/net/transport.ts";
import { startBroker, TestFolder } from "../../support/broker.ts";
import { openFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

async function oneBerth() {
  const port = await freePort();
  return await startBroker({ "arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]` });
}

const ERROR = "io.berthd.Broker.";

describe("what a tenant stashes", () => {
  it("comes to its successor with the berth, and is dropped when that is ready", async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    const first = await one.acquire("arena");
    const memfd = "m = os.memfd_create('state'); os.write(m, b'score 7')";
    await one.do(memfd);
    expect(await one.call("Stash", { lease: first, name: "state" }, "[m]")).toEqual({ parameters: {} });
    await one.call("Ready", { lease: first });
    await one.kill();
    await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
    await using two = await Puppet.connect(test.socket);
    const second = await two.acquire("arena");
    expect(test.broker.berths[0]?.descriptors[1]).toEqual({ name: "state", kind: "stash" });
    expect(await two.do("result = os.pread(b.fds[1], 99, 0).decode()")).toBe("score 7");
    await two.call("Ready", { lease: second });
    expect(test.broker.berths[0]?.descriptors).toHaveLength(1);
    expect((await two.call("Acquire", { berth: "arena" })).parameters["descriptors"]).toHaveLength(1);
  });

  it("under a name that is taken replaces what was there, whoever left it, and costs no quota twice", async () => {
    await using test = await startBroker(
      { "arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${await freePort()}"]` },
      { quota: { stash: 1 } },
    );
    await using one = await Puppet.connect(test.socket);
    await using two = await Puppet.connect(test.socket);
    const first = await one.acquire("arena");
    const second = await two.acquire("arena", "try");
    const put = async (puppet: Puppet, lease: string, text: string) => {
      await puppet.do(`m = os.memfd_create('m'); os.write(m, b'${text}')`);
      return (await puppet.call("Stash", { lease, name: "state" }, "[m]")).error;
    };
    for (const [puppet, lease, text] of [
      [one, first, "a"],
      [one, first, "b"],
      [two, second, "c"],
    ] as const) {
      expect(await put(puppet, lease, text)).toBeUndefined();
      expect(await puppet.call("Acquire", { berth: "arena" })).toMatchObject({ parameters: { lease } });
      expect(await puppet.do("result = os.pread(b.fds[-1], 9, 0).decode()")).toBe(text);
      // The one that it replaced is closed.
      expect(openFds().filter((line) => line.includes("/memfd:m "))).toHaveLength(1);
    }
    // A newcomer's stash is for its own successor, and survives what its predecessor says.
    await one.call("Ready", { lease: first });
    expect(test.broker.berths[0]?.descriptors).toHaveLength(2);
    await two.call("Ready", { lease: second });
    expect(test.broker.berths[0]?.descriptors).toHaveLength(2);
  });

  it("is limited for each user, with a message that names the limit; dropping one makes room", async () => {
    await using test = await startBroker(
      { "arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${await freePort()}"]` },
      { quota: { stash: 3 } },
    );
    await using one = await Puppet.connect(test.socket);
    const lease = await one.acquire("arena");
    const put = (name: string) => one.call("Stash", { lease, name }, "[os.memfd_create('m')]");
    for (const name of ["a", "b", "c"]) expect((await put(name)).error).toBeUndefined();
    expect(await put("d")).toMatchObject({
      error: `${ERROR}LimitReached`,
      parameters: { limit: "stash", message: `uid ${process.getuid?.()} has 3 descriptors stashed already` },
    });
    await one.kill();
    await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
    await using two = await Puppet.connect(test.socket);
    const next = await two.acquire("arena");
    await two.call("Ready", { lease: next });
    expect((await two.call("Stash", { lease: next, name: "d" }, "[os.memfd_create('m')]")).error).toBeUndefined();
  });

  it.each([
    ["a connected UNIX socket", "socket.socketpair()[0].detach()", "own other end"],
    [
      "a connected UNIX datagram socket",
      "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].detach()",
      "own other end",
    ],
    ["the very connection", "b.socket.fileno()", "own other end"],
    ["an O_PATH descriptor", "os.open('/', os.O_PATH)", "O_PATH"],
    ["a directory", "os.open('/', os.O_DIRECTORY)", "only sockets"],
    ["an epoll descriptor", "globals().setdefault('epoll', select.epoll()).fileno()", "only sockets"],
    ["a device", "os.open('/dev/null', os.O_RDWR)", "only sockets"],
    ["a pidfd", "os.pidfd_open(os.getpid())", "only sockets"],
    ["a namespace", "os.open('/proc/self/ns/mnt', 0)", "not mounted on the host"],
    ["a file of procfs", "os.open('/proc/self/mountinfo', 0)", "not local"],
    ["a pipe nobody writes to", "(lambda p: (os.close(p[1]), p[0])[1])(os.pipe())", "closed"],
    ["a pipe nobody reads from", "(lambda p: (os.close(p[0]), p[1])[1])(os.pipe())", "closed"],
  ])("%s is refused, and says why", async (_, fd, why) => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    const lease = await one.acquire("arena");
    const refused = await one.call("Stash", { lease, name: "it" }, `[${fd}]`);
    expect(refused).toMatchObject({ error: `${ERROR}UnsuitableDescriptor`, parameters: { name: "it" } });
    expect(refused.parameters["message"]).toContain(why);
  });

  it("may be a file, a pipe, a memfd, a TCP connection, a listener of any kind", async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    const lease = await one.acquire("arena");
    writeFileSync(`${test.folder.path}/file`, "");
    await one.do(
      "l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname()); p = os.pipe()",
    );
    await one.do("u = socket.socket(socket.AF_UNIX); u.bind('\\0berthd-stash-%d' % os.getpid()); u.listen()");
    const kinds = [
      `os.open("${test.folder.path}/file", os.O_RDWR)`,
      "p[0]",
      "p[1]",
      "os.memfd_create('m')",
      "c.fileno()",
      "l.fileno()",
      "u.fileno()",
    ];
    for (const [index, fd] of kinds.entries()) {
      expect(await one.call("Stash", { lease, name: `n${index}` }, `[${fd}]`)).toEqual({ parameters: {} });
    }
    expect(test.broker.berths[0]?.descriptors).toHaveLength(1 + kinds.length);
  });

  it.each(["", "a:b", "a b", "a/b", "\u0000", "ü", "x".repeat(65)])("is not called %j", async (name) => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    const lease = await one.acquire("arena");
    const refused = await one.call("Stash", { lease, name }, "[os.memfd_create('m')]");
    expect(refused).toMatchObject({ error: "org.varlink.service.InvalidParameter", parameters: { parameter: "name" } });
  });

  it("10,000 of them stop at what one message carries; all of those come, and go with the berth's next Ready", {
    timeout: 60_000,
  }, async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    const lease = await one.acquire("arena");
    const outcome = await one.do(`
m = os.memfd_create('m'); result = {}
for n in range(10000):
    e = b.call("Stash", {"lease": ${JSON.stringify(lease)}, "name": "n%d" % n}, [m]).get("error", "kept")
    result[e] = result.get(e, 0) + 1`);
    expect(outcome).toEqual({ kept: 250, [`${ERROR}LimitReached`]: 9750 });
    await one.do("b.fds.clear()");
    await one.acquire("arena");
    expect(await one.do("result = len(b.fds)")).toBe(251);
    await one.kill();
    await using two = await Puppet.connect(test.socket);
    const next = await two.acquire("arena");
    expect((await two.call("Launch", { berth: "arena", command: ["/bin/true"] })).error).toBeUndefined();
    await two.call("Ready", { lease: next });
    expect(test.broker.berths[0]?.descriptors).toHaveLength(1);
  });
});

it("is refused where its file system does not tell its type, and the broker keeps running", () => {
  // As with a FUSE file of another user: fcntl(2) answers, fstat(2) does not.
  expect(unsuitable(9999, { ...native, getfl: () => 0 })).toContain("does not tell");
});

it("is the same as another by its inode, where the kernel has no kcmp(2)", () => {
  const old = { ...native, kcmp: () => -38 };
  using one = FdHandle.adopt(native.memfd("one"));
  using same = one.dup();
  using other = FdHandle.adopt(native.memfd("other"));
  expect([isSameOpenFile(one, same, old), isSameOpenFile(one, other, old)]).toEqual([true, false]);
});

describe("a file", () => {
  const mounts = parseMounts(
    [
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
      "23 22 0:20 / /sys rw - sysfs sysfs rw",
      "24 22 0:30 / /srv/my\\040files rw shared:9 master:1 - btrfs /dev/sdb rw",
      "25 22 0:40 / /home/a rw - fuse.sshfs a rw",
      "26 22 0:50 / /mnt rw - overlay overlay rw",
      "27 22 0:60 / /dev/mqueue rw - mqueue mqueue rw",
    ].join("\n"),
  );
  it.each([
    ["on a disk", { device: "8:1" }, undefined],
    ["on a disk of another mount namespace", { device: "8:7" }, undefined],
    ["of a subvolume", { device: "0:99", mountId: 24 }, undefined],
    ["in memory", { device: "0:1", isMemory: true }, undefined],
    ["that is a pipe", { device: "0:2", isPipe: true }, undefined],
    ["of a device that is mounted nowhere", { device: "0:99" }, "not mounted on the host"],
    ["of sysfs", { device: "0:20" }, "a file of sysfs can keep"],
    ["of a message queue", { device: "0:60" }, "a file of mqueue can keep"],
    ["of a FUSE program", { device: "0:40" }, "a file of fuse.sshfs can keep"],
    ["of an overlay", { device: "0:50" }, "a berth's root"],
  ])("%s", (_, facts, why) => {
    const refusal = whyNotKept({ isPipe: false, isMemory: false, ...facts }, mounts);
    if (why === undefined) expect(refusal).toBeUndefined();
    else expect(refusal).toContain(why);
  });

  it("of an overlay is kept where the host itself is on it", () => {
    const inContainer = parseMounts("22 1 0:50 / / rw,relatime - overlay overlay rw");
    expect(whyNotKept({ device: "0:50", isPipe: false, isMemory: false }, inContainer)).toBeUndefined();
  });
});

describe("a UNIX socket that listens on a path", needs("root"), () => {
  /** Listening at the path; the caller closes it. */
  function listenAt(path: string): FdHandle {
    const socket = FdHandle.adopt(native.socket(AF_UNIX, SOCK_STREAM, 0));
    check("bind", native.bind(socket.fd, encodeSockaddr({ family: "unix", path, abstract: false }, 0)));
    check("listen", native.listen(socket.fd, 1));
    return socket;
  }

  it("is kept where the host has that path", () => {
    using folder = new TestFolder();
    using socket = listenAt(`${folder.path}/s`);
    expect(unsuitable(socket.fd, native)).toBeUndefined();
  });

  it("is refused where it would keep a mount alive, also when it comes back from the store", () => {
    using context = FdHandle.adopt(check("fsopen", native.fsopen("tmpfs")));
    check("fsconfig", native.fsconfigCreate(context.fd));
    using mount = FdHandle.adopt(check("fsmount", native.fsmount(context.fd, 0)));
    using socket = listenAt(`/proc/self/fd/${mount.fd}/s`);
    expect(unsuitable(socket.fd, native)).toContain("its path is in a berth's root");
    expect(unkeepable(socket.fd, native)).toContain("its path is in a berth's root");
  });
});

it("a pipe whose other end has closed is not stashed, and stays if it was stashed before", () => {
  using folder = new TestFolder();
  const path = `${folder.path}/fifo`;
  execFileSync("mkfifo", [path]);
  using end = FdHandle.adopt(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
  closeSync(openSync(path, constants.O_WRONLY));
  expect(unsuitable(end.fd, native)).toContain("closed");
  expect(unkeepable(end.fd, native)).toBeUndefined();
});
