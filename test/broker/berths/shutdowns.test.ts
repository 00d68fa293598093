/** A server that shuts down its listener and still has the berth: a new one is opened at the address at once. */
import { constants } from "node:os";
import { describe, expect, it, vi } from "vitest";
import { SHUTDOWN_INTERVAL_MS } from "../../../src/broker/berths/repairs/shutdowns.ts";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { Keeper } from "../../../src/broker/guard/keeper.ts";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { type Native, native } from "../../../src/native.ts";
import { EPOLL_CTL_ADD, EPOLLONESHOT, EPOLLRDHUP } from "../../../src/native-poll.ts";
import type { ListenAddress } from "../../../src/net/address.ts";
import { startBroker, type TestBroker, TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, settledFds } from "../../support/fds.ts";
import { connected, freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

const { EMFILE } = constants.errno;
const SHUT_RDWR = 2;
/** After a lease, its repair or the watch may come first. */
const AGAIN = /^berth arena: socket game was shut down by the server; it (listens|was opened) again$/;
const RENEWED = "berth arena: socket game was shut down by the server; it was opened again";

/** Carries out what it is asked at once. The test lets the answers through. */
class LateGuard extends Guard {
  readonly late: (() => void)[] = [];
  asked = 0;

  constructor() {
    super({ sys: native, log: () => undefined });
  }

  answer(): void {
    for (const hear of this.late.splice(0)) hear();
  }

  override ask(...[owner, fds, calls, hear, onFreed]: Parameters<Guard["ask"]>): void {
    this.asked++;
    super.ask(owner, fds, calls, (results) => this.late.push(() => hear(results)), onFreed);
  }
}

const berth = (listen: string): Record<string, string> => ({
  "arena.toml": `[sockets.game]\nlisten = ["${listen}"]\n`,
});

function said({ log }: TestBroker, about: string): string[] {
  return log.filter(({ event }) => event === about).map(({ message }) => message);
}

/** Where clients connect, in Python: what `s`, the held socket, is bound to. */
const target = "s.getsockname() if s.family == socket.AF_UNIX else ('127.0.0.1', s.getsockname()[1])";

/** A broker and a server with the berth and, as `s`, its socket. `c` are clients, which connect to `to`. */
async function serve(listen: string, sys: Native = native): Promise<{ test: TestBroker; server: Puppet }> {
  const test = await startBroker(berth(listen), { sys });
  const server = await Puppet.connect(test.socket);
  await server.acquire("arena");
  await server.do(`s = held(b.fds[0]); to = ${target}`);
  await server.do("def dial():\n    c = socket.socket(s.family, s.type); c.settimeout(30); c.connect(to); return c");
  return { test, server };
}

const renewed = (test: TestBroker, times = 1) =>
  expect.poll(() => said(test, "repaired"), { timeout: 30_000 }).toEqual(Array(times).fill(RENEWED));

describe("a listener that its server has shut down is opened again while the server has the berth", () => {
  it.each([
    ["TCP", "tcp://127.0.0.1:PORT", 2],
    ["TCP, for reading", "tcp://0.0.0.0:PORT", 0],
    ["TCP, on a port of the kernel's choice", "tcp://127.0.0.1:0", 2],
    ["a UNIX one", "unix://FOLDER/a.sock", 2],
    ["a UNIX one, for reading", "unix://FOLDER/a.sock", 0],
    ["UNIX, of packets", "unix-seqpacket://FOLDER/a.sock", 2],
  ])(
    "%s: clients wait for the next server, and the old one hears what it would on plain Linux",
    async (_, listen, how) => {
      using folder = new TestFolder();
      const address = listen.replace("PORT", String(await freePort())).replace("FOLDER", folder.path);
      const { test, server } = await serve(address);
      await using _test = test;
      await using _server = server;
      // A player who is there stays, and a thread in accept(2) returns.
      await server.do("player = dial(); own, _ = s.accept()");
      await server.do(`import threading, errno
told = []
def wait():
    try: s.accept()
    except OSError as error: told.append(errno.errorcode[error.errno])
thread = threading.Thread(target=wait, daemon=True); thread.start()`);
      await server.do(`s.shutdown(${how})`);
      await renewed(test);
      expect(test.broker.berths[0]).toMatchObject({
        state: "occupied",
        descriptors: [{ address: expect.any(String) }],
      });
      expect(await server.do("thread.join(20); result = told")).toEqual(["EINVAL"]);
      await server.do("s.setblocking(False); waits = [dial() for _ in range(3)]");
      // Three clients wait, and it hears of none.
      await expect(server.do("s.accept()")).rejects.toThrow(/Invalid argument|temporarily unavailable/);
      expect(await server.do("own.send(b'x'); result = player.recv(1).decode()")).toBe("x");
      await using next = await Puppet.connect(test.socket);
      await next.acquire("arena", "must");
      expect(
        await next.do("s = held(b.fds[0]); s.settimeout(30); result = [s.accept() is not None for _ in range(3)]"),
      ).toEqual([true, true, true]);
      expect(said(test, "shut-down")).toEqual([]);
    },
  );

  it("its successor is watched in its turn, and nothing is left open", async () => {
    const before = await settledFds();
    {
      const { test, server } = await serve(`tcp://127.0.0.1:${await freePort()}`);
      await using _test = test;
      await using _server = server;
      let open: string[] = [];
      for (let times = 1; times <= 3; times++) {
        await server.do("s.shutdown(2); s.close(); [os.close(fd) for fd in b.fds]; b.fds.clear()");
        await renewed(test, times);
        await server.acquire("arena");
        await server.do("s = held(b.fds[0])");
        if (times === 1) open = await settledFds();
        expect((await settledFds()).length).toBe(open.length);
        await server.do("dial().close(); s.accept()[0].close()");
      }
    }
    await expectFdsAgain(before);
  });

  const anew = "b.call('Acquire', {'berth': 'arena'}); fd = b.fds.pop(); s = held(fd); os.close(fd)";
  it.each([
    ["takes the new one each time", anew],
    ["listens again each time", "s.listen(9)"],
  ])(
    "one that shuts it down again and again, and %s, keeps the broker no busier than once a second",
    async (_, again) => {
      let looks = 0;
      const epollReady: Native["epollReady"] = (epoll, ids) => {
        const count = native.epollReady(epoll, ids);
        if (count > 0) looks++;
        return count;
      };
      const { test, server } = await serve(`tcp://127.0.0.1:${await freePort()}`, { ...native, epollReady });
      await using _test = test;
      await using _server = server;
      const began = performance.now();
      // What is shut down already is not connected, and where the broker listens the server cannot.
      const loop = `import time
end = time.monotonic() + ${(1.5 * SHUTDOWN_INTERVAL_MS) / 1000}; result = 0
while time.monotonic() < end:
    try: s.shutdown(2)
    except OSError: pass
    try: ${again}
    except OSError: ${anew}
    result += 1`;
      expect(await server.do(loop)).toBeGreaterThan(20);
      const most = Math.ceil((performance.now() - began) / SHUTDOWN_INTERVAL_MS);
      expect(looks).toBeGreaterThan(0);
      // The last one may wait for its turn.
      expect(looks).toBeLessThanOrEqual(most + 1);
      expect(said(test, "repaired").length).toBeLessThanOrEqual(most);
    },
  );

  it("one that listens again itself keeps its socket", async () => {
    const { test, server } = await serve(`tcp://127.0.0.1:${await freePort()}`);
    await using _test = test;
    await using _server = server;
    // SO_REUSEADDR off: no other socket can be bound beside it, so the broker cannot be the first.
    await server.do("s.setsockopt(1, 2, 0); s.shutdown(2)");
    await expect.poll(() => said(test, "shut-down").length, { timeout: 30_000 }).toBe(1);
    expect(said(test, "shut-down")[0]).toMatch(/connects are refused until the lease ends: .*EADDRINUSE/);
    await server.do("s.setsockopt(1, 2, 1); s.listen(9)");
    await server.do("one = dial(); s.settimeout(30); s.accept()[0].close()");
    // From then on it is watched again.
    await expect
      .poll(
        async () => {
          await server.do("try: s.shutdown(2)\nexcept OSError: pass");
          return said(test, "repaired");
        },
        { timeout: 30_000 },
      )
      .toEqual([RENEWED]);
    expect(said(test, "shut-down").length).toBe(1);
  });

  it("one that cannot be opened again is repaired when the lease ends, and it is said once", async () => {
    const port = await freePort();
    const { test, server } = await serve(`tcp://127.0.0.1:${port}`);
    await using _test = test;
    await server.do("s.setsockopt(1, 2, 0); s.shutdown(2)");
    await expect.poll(() => said(test, "shut-down").length, { timeout: 30_000 }).toBe(1);
    await server.kill();
    const renewal = expect.arrayContaining([expect.stringMatching(AGAIN)]);
    await expect.poll(() => said(test, "repaired"), { timeout: 30_000 }).toEqual(renewal);
    (await connected(port)).destroy();
    expect(said(test, "shut-down").length).toBe(1);
  });

  it("a process that kept it after the lease cannot close the port either", async () => {
    const port = await freePort();
    const { test, server } = await serve(`tcp://127.0.0.1:${port}`);
    await using _test = test;
    await using _server = server;
    await server.call("Release", { lease: test.broker.berths[0]?.lease?.id });
    await server.do("s.shutdown(2)");
    await expect.poll(() => said(test, "repaired"), { timeout: 30_000 }).toEqual([expect.stringMatching(AGAIN)]);
    (await connected(port)).destroy();
  });

  it.each([1, 2])("a repair whose round %i is under way does nothing to the new one", async (rounds) => {
    const guard = new LateGuard();
    const port = await freePort();
    await using test = await startBroker(berth(`tcp://127.0.0.1:${port}`), { guard });
    await using server = await Puppet.connect(test.socket);
    await server.acquire("arena");
    // SO_LOCK_FILTER (socket(7)): only a new socket helps, so the repair shuts this one down.
    await server.do("s = held(b.fds[0]); s.setsockopt(socket.SOL_SOCKET, 44, 1)");
    await server.call("Release", { lease: test.broker.berths[0]?.lease?.id });
    for (let round = 1; round < rounds; round++) {
      await expect.poll(() => guard.late.length, { timeout: 30_000 }).toBe(1);
      guard.answer();
    }
    await expect.poll(() => guard.late.length, { timeout: 30_000 }).toBe(1);
    await server.do("s.shutdown(2)");
    await renewed(test);
    guard.answer();
    expect(guard.asked).toBe(rounds);
    (await connected(port)).destroy();
    await using next = await Puppet.connect(test.socket);
    await next.acquire("arena");
    await next.do("s = held(b.fds[0]); s.settimeout(30); s.accept()");
    expect(said(test, "repaired")).toEqual([RENEWED]);
  });

  it("without an epoll, the end of the lease repairs it, as ever", async () => {
    const sys: Native = { ...native, epollCreate: () => -EMFILE };
    const port = await freePort();
    await using test = await startBroker(berth(`tcp://127.0.0.1:${port}`), { sys });
    await using server = await Puppet.connect(test.socket);
    await server.acquire("arena");
    await server.do("held(b.fds[0]).shutdown(2)");
    await server.kill();
    await expect
      .poll(() => said(test, "repaired"), { timeout: 30_000 })
      .toEqual(["berth arena: socket game was shut down by the server; it listens again"]);
    (await connected(port)).destroy();
  });
});

it("nobody waits until the copies of a listener that is opened again at once are closed", () => {
  const keeper = new Keeper({ sys: native, log: () => undefined, zygote: () => undefined });
  const settle = vi.spyOn(keeper, "settle");
  const listen: ListenAddress = {
    kind: "stream",
    address: { family: "ipv4", host: "127.0.0.1", port: 0 },
    dualStack: false,
  };
  const storedCopy = { drop: vi.fn(), dropNow: vi.fn() };
  using socket = HeldSocket.open(listen, { backlog: 9, v6only: false, mode: 0o600 }, native);
  const isKept = (): boolean => {
    socket.share();
    socket.storedCopy = storedCopy;
    return socket.keep(keeper, "berth arena");
  };
  expect(isKept()).toBe(true);
  expect(native.shutdown(socket.fd, SHUT_RDWR)).toBe(0);
  expect(socket.renewListener()).toBe(true);
  expect([storedCopy.drop, storedCopy.dropNow, settle].map(({ mock }) => mock.calls.length)).toEqual([1, 0, 0]);
  // Where the bind comes after, the address must be free.
  expect(isKept()).toBe(true);
  socket.reopen();
  expect([storedCopy.drop, storedCopy.dropNow, settle].map(({ mock }) => mock.calls.length)).toEqual([1, 1, 1]);
  keeper.retire();
});

it("connections make no epoll ready that waits for a hang-up alone", async () => {
  const epoll = native.epollCreate(0);
  const ids = new Uint32Array(2);
  const listener = native.socket(2, 1, 0);
  try {
    expect(native.listen(listener, 9)).toBe(0);
    const events = (EPOLLRDHUP | EPOLLONESHOT) >>> 0;
    expect(native.epollControl(epoll, EPOLL_CTL_ADD, listener, events, 812)).toBe(0);
    const name = new Uint8Array(16);
    expect(native.getsockname(listener, name)).toBe(16);
    (await connected(new DataView(name.buffer).getUint16(2))).destroy();
    expect(native.epollReady(epoll, ids)).toBe(0);
    expect(native.shutdown(listener, SHUT_RDWR)).toBe(0);
    expect([native.epollReady(epoll, ids), ids[0]]).toEqual([1, 812]);
    expect(native.epollReady(epoll, ids)).toBe(0);
  } finally {
    native.close(listener);
    native.close(epoll);
  }
});
