import { describe, expect, it } from "vitest";
import { startBroker } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

async function oneBerth() {
  const port = await freePort();
  return await startBroker({ "arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]` });
}

const ERROR = "io.berthd.Broker.";

describe("taking over a berth", () => {
  it("without replace is refused, and says who has it; must finds a vacant one to be so", async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    await using two = await Puppet.connect(test.socket);
    expect(await two.call("Acquire", { berth: "arena", replace: "must" })).toMatchObject({
      error: `${ERROR}BerthVacant`,
      parameters: { berth: "arena" },
    });
    const lease = await one.acquire("arena", "try");
    const refused = await two.call("Acquire", { berth: "arena" });
    expect(refused).toMatchObject({
      error: `${ERROR}BerthOccupied`,
      parameters: { berth: "arena", lease: { id: lease, pid: one.pid, uid: process.getuid?.() } },
    });
    expect(await two.do("result = len(b.fds)")).toBe(0);
  });

  it("is complete when the newcomer is ready; meanwhile both have it, and a third is refused", async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    await using two = await Puppet.connect(test.socket);
    await using three = await Puppet.connect(test.socket);
    const first = await one.acquire("arena");
    const second = await two.acquire("arena", "must");
    expect(second).not.toBe(first);
    expect(test.broker.berths[0]).toMatchObject({ state: "handover", lease: { id: first } });
    const third = await three.call("Acquire", { berth: "arena", replace: "try" });
    expect(third).toMatchObject({ error: `${ERROR}BerthOccupied`, parameters: { lease: { id: second } } });
    expect(await two.call("Ready", { lease: second })).toEqual({ parameters: {} });
    expect(test.broker.berths[0]).toMatchObject({ state: "occupied", lease: { id: second }, ready: true });
    // The first one's lease has ended with that, though it lives.
    expect((await one.call("Release", { lease: first })).error).toBe(`${ERROR}NoSuchLease`);
    await one.kill();
    expect((await two.call("Acquire", { berth: "arena" })).parameters["lease"]).toBe(second);
  });

  it("leaves the old tenant as it was when the newcomer dies first", async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    await using two = await Puppet.connect(test.socket);
    const first = await one.acquire("arena");
    await one.call("Ready", { lease: first });
    await two.acquire("arena", "try");
    await two.kill();
    await expect
      .poll(() => test.broker.berths[0])
      .toMatchObject({ state: "occupied", lease: { id: first }, ready: true });
  });

  it("gives the newcomer the berth when the old tenant dies first, and frees it when both have died", async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    await using two = await Puppet.connect(test.socket);
    await one.acquire("arena");
    const second = await two.acquire("arena", "try");
    await one.kill();
    await expect.poll(() => test.broker.berths[0]).toMatchObject({ state: "occupied", lease: { id: second } });
    await two.kill();
    await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
    expect(test.broker.berths[0]?.lease).toBeUndefined();
  });

  it("a tenant that asks again, on any connection, gets its lease and fresh descriptors; during a handover too", async () => {
    await using test = await oneBerth();
    await using one = await Puppet.connect(test.socket);
    await using two = await Puppet.connect(test.socket);
    const first = await one.acquire("arena");
    const second = await two.acquire("arena", "try");
    for (const [puppet, lease] of [
      [one, first],
      [two, second],
      [two, second],
    ] as const) {
      await puppet.do(`b = Broker(${JSON.stringify(test.socket)})`);
      expect(await puppet.acquire("arena")).toBe(lease);
      expect(await puppet.do("result = held(b.fds[-1]).getsockopt(1, socket.SO_ACCEPTCONN)")).toBe(1);
    }
    expect(await two.do("result = len(set(b.fds)) == len(b.fds)")).toBe(true);
  });
});

describe("a pid that is used again (needs root, to choose a pid)", needs("root"), () => {
  it("gives a connection of the dead process no hold on the lease of the living one", async () => {
    await using test = await oneBerth();
    // A forks B; A connects, leaves its connection to B, and dies; C gets A's pid and takes the berth.
    await using b = await Puppet.connect(test.socket);
    await b.do(`
report, tell = os.pipe()
theirs, keep = socket.socketpair()
pid = os.fork()
if pid == 0:
    s = Broker(${JSON.stringify(test.socket)})
    socket.send_fds(keep, [b"x"], [s.socket.fileno()])
    os._exit(0)
_, (inherited,), _, _ = socket.recv_fds(theirs, 1, 1)
os.waitpid(pid, 0)
old = Broker.__new__(Broker); old.socket = socket.socket(fileno=inherited); old.buffer = b""; old.fds = []
result = pid`);
    // clone3(2) with set_tid. Where another process has got the number first, its end is waited for.
    const reused = await b.do(`
import ctypes, errno, signal, struct, time
libc = ctypes.CDLL(None, use_errno=True)
wanted = ctypes.c_int32(pid)
args = struct.pack("11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
result = None
end = time.monotonic() + 15
while result is None and time.monotonic() < end:
    child = libc.syscall(435, args, len(args))
    if child == 0:
        s = Broker(${JSON.stringify(test.socket)})
        os.write(tell, json.dumps(s.call("Acquire", {"berth": "arena"})).encode() + b"\\n")
        select.select([], [], [], 60)
        os._exit(0)
    if child == pid:
        result = json.loads(os.read(report, 65536))
    else:
        assert ctypes.get_errno() == errno.EEXIST, errno.errorcode[ctypes.get_errno()]
        time.sleep(0.01)`);
    const lease = (reused as { parameters: { lease: string } } | null)?.parameters.lease;
    expect(lease).toBeTypeOf("string");
    expect(test.broker.berths[0]?.lease?.pid).toBe(await b.do("result = pid"));
    try {
      // Root may release anything, so what is asked is Acquire: it gives a tenant its own lease, and refuses others.
      const again = await b.do('result = old.call("Acquire", {"berth": "arena"})');
      expect(again).toMatchObject({ error: `${ERROR}BerthOccupied`, parameters: { lease: { id: lease } } });
    } finally {
      await b.do("import signal; os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)");
    }
  });
});

describe("a stranger that knows a lease (needs root, to be another user)", needs("root"), () => {
  it("may neither release it, nor say that it is ready, nor stash into it", async () => {
    const port = await freePort();
    await using test = await startBroker({
      "arena.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[tenant]\nusers = [65534, 65533]`,
      "lobby.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n[tenant]\nusers = [65534]',
    });
    await using tenant = await Puppet.connect(test.socket, { uid: 65534, gid: 65534 });
    await using stranger = await Puppet.connect(test.socket, { uid: 65534, gid: 65534 });
    const lease = await tenant.acquire("arena");
    // Without a lease it could send no descriptor.
    await stranger.acquire("lobby");
    const unknown = "0".repeat(lease.length);
    for (const [method, more, fds] of [
      ["Release", {}, "[]"],
      ["Ready", {}, "[]"],
      ["Stash", { name: "a" }, "[os.memfd_create('a')]"],
    ] as const) {
      const refused = await stranger.call(method, { lease, ...more }, fds);
      const missing = await stranger.call(method, { lease: unknown, ...more }, fds);
      expect(JSON.stringify(refused).replaceAll(lease, unknown)).toBe(JSON.stringify(missing));
      expect(refused.error).toBe(`${ERROR}NoSuchLease`);
    }
    expect(test.broker.berths[0]).toMatchObject({ state: "occupied", ready: false, lease: { id: lease } });
    // Root ends any lease.
    using root = await RawPeer.connect(test.socket);
    await root.send(frame("Release", { lease }));
    expect(await root.receive()).toEqual({ parameters: {} });
    expect(test.broker.berths[0]?.state).toBe("vacant");
  });
});
