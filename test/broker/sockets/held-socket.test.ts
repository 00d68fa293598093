import { once } from "node:events";
import { lstatSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { HeldSocket } from "../../../src/broker/sockets/held-socket.ts";
import { type Native, native } from "../../../src/native.ts";
import { type Address, decodeSockaddr, encodeSockaddr } from "../../../src/net/address.ts";
import * as so from "../../../src/net/socket-constants.ts";
import { startBroker, type TestBroker, TestFolder } from "../../support/broker.ts";
import { expectFdsAgain, settledFds } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { RawPeer } from "../../support/peer.ts";
import { connected, freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";

const SO_BINDTOIFINDEX = 62;

/** What the kernel says of a socket. */
function option(fd: number, level: number, name: number): number {
  const value = new Int32Array(1);
  expect(native.getsockopt(fd, level, name, value)).toBe(0);
  return value[0] ?? -1;
}

function sockname(fd: number): Address | undefined {
  const bytes = new Uint8Array(128);
  return decodeSockaddr(bytes.subarray(0, native.getsockname(fd, bytes)));
}

/** Takes the berth `arena` in this process, and gives its descriptors. */
async function take({ socket }: TestBroker): Promise<RawPeer> {
  const peer = await RawPeer.connect(socket);
  const reply = await peer.call("Acquire", { berth: "arena" });
  expect(reply?.error).toBeUndefined();
  return peer;
}

/** Waits for the puppet's death to be seen, and says what was repaired until somebody else got the berth. */
async function repairsAfter(puppet: Puppet, test: TestBroker): Promise<string[]> {
  await puppet.kill();
  await expect.poll(() => test.broker.berths[0]?.state).toBe("vacant");
  using peer = await take(test);
  const repairs = test.log.filter(({ event }) => event === "repaired").map(({ message }) => message);
  await peer.call("Release", { lease: test.broker.berths[0]?.lease?.id });
  return repairs;
}

/** A lease that changes nothing. The guard then knows what a socket of this kind looks like when all is well. */
async function leaseAsUsual(test: TestBroker): Promise<void> {
  using peer = await take(test);
  await peer.call("Release", { lease: test.broker.berths[0]?.lease?.id });
}

describe("changes of a tenant to a shared socket are repaired when its lease ends", () => {
  const berth = (listen: string, more = ""): Record<string, string> => ({
    "arena.toml": `[sockets.game]\nlisten = ["${listen}"]\n${more}`,
  });

  it.each([
    ["a TCP listener that was shut down", "tcp://127.0.0.1:PORT", "held(b.fds[0]).shutdown(2)"],
    ["a TCP listener on a port of the kernel's choice", "tcp://127.0.0.1:0", "held(b.fds[0]).shutdown(2)"],
    ["a UNIX listener that was shut down", "unix://FOLDER/a.sock", "held(b.fds[0]).shutdown(2)"],
    ["an abstract one", "unix://@berthd-test-PORT", "held(b.fds[0]).shutdown(2)"],
    ["a backlog of nothing", "tcp://127.0.0.1:PORT", "held(b.fds[0]).listen(0)"],
    [
      "a TCP listener that became a connection",
      "tcp://0.0.0.0:PORT",
      "s = held(b.fds[0]); s.shutdown(2); l = socket.create_server(('127.0.0.1', 0)); s.connect(l.getsockname())",
    ],
  ])("%s accepts again, on the same address", async (_, listen, harm) => {
    using folder = new TestFolder();
    const port = await freePort();
    const address = listen.replace("PORT", String(port)).replace("FOLDER", folder.path);
    await using test = await startBroker(berth(address));
    await leaseAsUsual(test);
    await using puppet = await Puppet.connect(test.socket);
    await puppet.acquire("arena");
    const before = (await puppet.do("result = str(held(b.fds[0]).getsockname())")) as string;
    const [shown] = test.broker.berths[0]?.descriptors ?? [];
    await puppet.do(harm);
    expect(test.broker.berths[0]?.descriptors[0]).toEqual(shown);
    const repairs = await repairsAfter(puppet, test);
    expect(repairs.length).toBe(harm.includes("listen(0)") ? 0 : 1);
    for (const sentence of repairs)
      expect(sentence).toMatch(
        /berth arena: socket game was (shut down by the server; it (listens|was opened) again|left unusable by the server; it was opened again)/,
      );
    await using next = await Puppet.connect(test.socket);
    await next.acquire("arena");
    expect(await next.do("s = held(b.fds[0]); result = str(s.getsockname())")).toBe(before);
    const several = "[socket.socket(s.family) for _ in range(3)]";
    const target = "s.getsockname() if s.family == socket.AF_UNIX else ('127.0.0.1', s.getsockname()[1])";
    await next.do(`c = ${several}; [(x.setblocking(True), x.settimeout(30), x.connect(${target})) for x in c]`);
    expect(await next.do("s.settimeout(30); result = [s.accept() is not None for _ in c]")).toEqual([true, true, true]);
  });

  it.each([
    [
      "connected to one peer",
      "udp://0.0.0.0:PORT",
      "held(b.fds[0]).connect(('127.0.0.1', 9))",
      /it is disconnected again/,
    ],
    [
      "connected, on a port of the kernel's choice",
      "udp://127.0.0.1:0",
      "held(b.fds[0]).connect(('127.0.0.1', 9))",
      /it is disconnected again/,
    ],
    [
      "shut down",
      "udp://127.0.0.1:PORT",
      "s = held(b.fds[0]); s.connect(('127.0.0.1', 9)); s.shutdown(2)",
      /left unusable by the server; it was opened again/,
    ],
    ["behind a filter", "udp://127.0.0.1:PORT", "deaf(0)", undefined],
    ["behind a locked filter", "udp://127.0.0.1:PORT", "deaf(1)", /had SO_LOCK_FILTER changed .*; it was opened again/],
    [
      "a UNIX one, shut down",
      "unix-dgram://FOLDER/a.sock",
      "s = held(b.fds[0]); s.shutdown(2)",
      /left unusable by the server; it was opened again/,
    ],
    [
      "a UNIX one, connected",
      "unix-dgram://FOLDER/a.sock",
      "o = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); o.bind('FOLDER/o'); held(b.fds[0]).connect('FOLDER/o')",
      /it is disconnected again/,
    ],
  ])(
    "a datagram socket that was %s receives from anybody again, on the same address",
    async (_, listen, harm, words) => {
      using folder = new TestFolder();
      const port = await freePort();
      const fill = (text: string): string => text.replaceAll("PORT", String(port)).replaceAll("FOLDER", folder.path);
      await using test = await startBroker(berth(fill(listen)));
      await leaseAsUsual(test);
      await using puppet = await Puppet.connect(test.socket);
      await puppet.acquire("arena");
      const before = (await puppet.do("result = str(held(b.fds[0]).getsockname())")) as string;
      // SO_ATTACH_FILTER of one instruction, `ret #0`, and SO_LOCK_FILTER: socket(7).
      await puppet.do(`import ctypes
def deaf(lock):
    s = held(b.fds[0])
    code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0))
    s.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HL', 1, ctypes.addressof(code)))
    if lock: s.setsockopt(socket.SOL_SOCKET, 44, 1)`);
      await puppet.do(fill(harm));
      const repairs = await repairsAfter(puppet, test);
      if (words === undefined) expect(repairs).toEqual([]);
      else expect(repairs.join("\n")).toMatch(words);
      await using next = await Puppet.connect(test.socket);
      await next.acquire("arena");
      expect(await next.do("s = held(b.fds[0]); result = str(s.getsockname())")).toBe(before);
      await next.do("c = socket.socket(s.family, socket.SOCK_DGRAM); s.settimeout(30)");
      const target = "s.getsockname() if s.family == socket.AF_UNIX else ('127.0.0.1', s.getsockname()[1])";
      expect(await next.do(`c.sendto(b'hello', ${target}); result = s.recv(9).decode()`)).toBe("hello");
    },
  );

  it.each([
    ["of a peer that it was connected to", "s.connect(('127.0.0.1', 9))", "s.send(b'x')", [/it is disconnected again/]],
    ["that it asked for", "s.setsockopt(0, 11, 1)", "s.sendto(b'x', ('127.0.0.1', 9))", [/had IP_RECVERR changed/]],
  ])("an ICMP error %s does not fail the next tenant's first recvfrom", async (_, wants, sends, words) => {
    await using test = await startBroker(berth(`udp://127.0.0.1:${await freePort()}`));
    await leaseAsUsual(test);
    await using puppet = await Puppet.connect(test.socket);
    await puppet.acquire("arena");
    // Over loopback the answer is back before the call returns: nobody has port 9.
    await puppet.do(`s = held(b.fds[0]); ${wants}; ${sends}`);
    const repairs = await repairsAfter(puppet, test);
    expect(repairs).toEqual(words.map((pattern) => expect.stringMatching(pattern)));
    await using next = await Puppet.connect(test.socket);
    await next.acquire("arena");
    await next.do("c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s = held(b.fds[0]); s.settimeout(30)");
    await next.do("c.sendto(b'hello', s.getsockname())");
    expect(await next.do("result = s.recvfrom(9)[0].decode()")).toBe("hello");
  });

  it("an ICMP error fails the first recvfrom where nobody reads it: the test above can fail", async () => {
    await using test = await startBroker(berth(`udp://127.0.0.1:${await freePort()}`));
    await using puppet = await Puppet.connect(test.socket);
    await puppet.acquire("arena");
    await puppet.do("s = held(b.fds[0]); s.setsockopt(0, 11, 1); s.sendto(b'x', ('127.0.0.1', 9)); s.settimeout(30)");
    await expect(puppet.do("s.recvfrom(9)")).rejects.toThrow("Connection refused");
  });

  it("O_NONBLOCK, SO_REUSEPORT and SO_REUSEADDR are off again, and another process cannot bind beside it", async () => {
    const port = await freePort();
    await using test = await startBroker(berth(`udp://127.0.0.1:${port}`));
    const events = await RawPeer.connect(test.socket);
    await events.send('{"method":"io.berthd.Broker.Watch","more":true}\0');
    await events.receive();
    await using puppet = await Puppet.connect(test.socket);
    await puppet.acquire("arena");
    await puppet.do(
      "s = held(b.fds[0]); s.setblocking(False); s.setsockopt(1, socket.SO_REUSEPORT, 1); s.setsockopt(1, socket.SO_REUSEADDR, 1)",
    );
    const repairs = await repairsAfter(puppet, test);
    expect(repairs).toEqual([
      "berth arena: socket game had SO_REUSEPORT changed by the server; set back as configured",
    ]);
    const told = [];
    while (told.at(-1) !== "repaired") told.push((await events.receive())?.parameters["event"]);
    expect(told).toEqual(["acquired", "released", "repaired"]);
    events.close();
    using peer = await take(test);
    const fd = peer.fds[0]?.fd ?? -1;
    expect(native.getfl(fd) & so.O_NONBLOCK).toBe(0);
    expect([option(fd, 1, so.SO_REUSEPORT), option(fd, 1, so.SO_REUSEADDR)]).toEqual([0, 0]);
    await using thief = await Puppet.connect(test.socket);
    const steal = `t = socket.socket(2, 2); t.setsockopt(1, 15, 1); t.setsockopt(1, 2, 1); result = t.bind(('127.0.0.1', ${port}))`;
    await expect(thief.do(steal)).rejects.toThrow("Address already in use");
  });

  it("a socket whose path its tenant has removed costs the broker nothing but that socket's repair", async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "a.sock");
    await using test = await startBroker(berth(`unix://${path}`));
    await using puppet = await Puppet.connect(test.socket);
    await puppet.acquire("arena");
    await puppet.do(`os.unlink(${JSON.stringify(path)}); held(b.fds[0]).shutdown(2)`);
    expect(await repairsAfter(puppet, test)).toEqual([expect.stringContaining("it was opened again")]);
    expect(lstatSync(path).isSocket()).toBe(true);
  });

  it.each(["stream", "datagram"])("a %s socket whose path its tenant has removed is bound anew", async (kind) => {
    using folder = new TestFolder();
    const path = join(folder.path, "a.sock");
    await using test = await startBroker(berth(`${kind === "stream" ? "unix" : "unix-dgram"}://${path}`));
    await using puppet = await Puppet.connect(test.socket);
    await puppet.acquire("arena");
    await puppet.do(`os.unlink(${JSON.stringify(path)})`);
    expect(await repairsAfter(puppet, test)).toEqual([
      "berth arena: socket game had its path removed or replaced; it was opened again",
    ]);
    expect(lstatSync(path).isSocket()).toBe(true);
    await using next = await Puppet.connect(test.socket);
    await next.acquire("arena");
    const type = kind === "stream" ? "SOCK_STREAM" : "SOCK_DGRAM";
    await next.do(`c = socket.socket(socket.AF_UNIX, socket.${type}); c.connect(${JSON.stringify(path)})`);
  });

  it("another's socket on that path is left alone, and the next lease's end tries again", async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "a.sock");
    await using test = await startBroker(berth(`unix://${path}`));
    await using puppet = await Puppet.connect(test.socket);
    await puppet.acquire("arena");
    await puppet.do(`os.unlink(${JSON.stringify(path)})`);
    const other = createServer().listen(path);
    await once(other, "listening");
    await puppet.do("held(b.fds[0]).shutdown(2)");
    const [sentence] = await repairsAfter(puppet, test);
    expect(sentence).toMatch(/cannot be opened again: .*EADDRINUSE/);
    expect(lstatSync(path).isSocket()).toBe(true);
    other.close();
    await once(other, "close");
    const before = test.log.length;
    await using next = await Puppet.connect(test.socket);
    await next.acquire("arena");
    await next.kill();
    await expect
      .poll(() =>
        test.log
          .slice(before)
          .map(({ message }) => message)
          .join(),
      )
      .toContain("it was opened again");
    await using third = await Puppet.connect(test.socket);
    await third.acquire("arena");
    expect(await third.do("result = held(b.fds[0]).getsockopt(1, socket.SO_ACCEPTCONN)")).toBe(1);
  });
});

describe("every kind of socket is held as it was asked for", () => {
  it("tcp, udp, unix, unix-dgram, unix-seqpacket, abstract, dual stack: bound, listening, described", async () => {
    const before = await settledFds();
    using folder = new TestFolder();
    const [tcp, udp, dual] = [await freePort(), await freePort(), await freePort()];
    const listen = [
      `tcp://127.0.0.1:${tcp}`,
      `udp://127.0.0.1:${udp}`,
      `tcp://*:${dual}`,
      `udp://[::1]:${udp}`,
      `unix://${folder.path}/deep/er/s`,
      `unix-dgram://${folder.path}/d`,
      `unix-seqpacket://${folder.path}/q`,
      `unix://@berthd-test-${tcp}`,
    ];
    {
      await using test = await startBroker({ "arena.toml": `[sockets.game]\nlisten = ${JSON.stringify(listen)}` });
      using peer = await take(test);
      expect(test.broker.berths[0]?.descriptors.map(({ address }) => address)).toEqual(listen);
      const kinds = peer.fds.map(({ fd }) => [
        option(fd, 1, so.SO_DOMAIN),
        option(fd, 1, so.SO_TYPE),
        option(fd, 1, so.SO_ACCEPTCONN),
      ]);
      const [unix, inet, inet6] = [1, 2, 10];
      const [stream, dgram, seqpacket] = [1, 2, 5];
      expect(kinds).toEqual([
        [inet, stream, 1],
        [inet, dgram, 0],
        [inet6, stream, 1],
        [inet6, dgram, 0],
        [unix, stream, 1],
        [unix, dgram, 0],
        [unix, seqpacket, 1],
        [unix, stream, 1],
      ]);
      for (const { fd } of peer.fds) expect(native.getfl(fd) & so.O_NONBLOCK).toBe(0);
      expect(option(peer.fds[2]?.fd ?? -1, so.IPPROTO_IPV6, so.IPV6_V6ONLY)).toBe(0);
      expect(option(peer.fds[3]?.fd ?? -1, so.IPPROTO_IPV6, so.IPV6_V6ONLY)).toBe(1);
      expect(sockname(peer.fds[7]?.fd ?? -1)).toEqual({ family: "unix", path: `berthd-test-${tcp}`, abstract: true });
      (await connected(dual)).destroy();
      expect(lstatSync(`${folder.path}/deep/er/s`).mode & 0o777).toBe(0o666);
      await peer.call("Release", { lease: test.broker.berths[0]?.lease?.id });
    }
    expect(lstatSync(`${folder.path}/d`, { throwIfNoEntry: false })).toBeUndefined();
    await expectFdsAgain(before);
  });

  it("options reach the kernel", async () => {
    const [tcp, udp, udp6] = [await freePort(), await freePort(), await freePort()];
    const port = await freePort();
    await using test = await startBroker({
      "arena.toml": `
        [sockets.web]
        listen = ["tcp://127.0.0.1:${tcp}"]
        keep-alive = true
        no-delay = true
        defer-accept = "7s"
        tos = 16
        priority = 4
        backlog = 3
        [sockets.game]
        listen = ["udp://127.0.0.1:${udp}"]
        receive-buffer = "100K"
        send-buffer = "64K"
        broadcast = true
        packet-info = true
        [sockets.six]
        listen = ["udp://[::1]:${udp6}"]
        tos = 8
        packet-info = true
        [sockets.free]
        listen = ["udp://192.0.2.7:${port}", "udp://[2001:db8::7]:${port}"]
        freebind = true
        reuse-port = true
        [sockets.lo]
        listen = ["udp://127.0.0.2:${port}"]
        device = "lo"`,
    });
    using peer = await take(test);
    const [web, game, six, free4, free6, lo] = peer.fds.map(({ fd }) => fd);
    const at = (fd: number | undefined, level: number, name: number): number => option(fd ?? -1, level, name);
    expect([at(web, 1, so.SO_KEEPALIVE), at(web, 6, so.TCP_NODELAY), at(web, 6, so.TCP_DEFER_ACCEPT)]).toEqual([
      1, 1, 7,
    ]);
    expect([at(web, 0, so.IP_TOS), at(web, 1, so.SO_PRIORITY)]).toEqual([16, 4]);
    expect([at(game, 1, so.SO_RCVBUF), at(game, 1, so.SO_SNDBUF)]).toEqual([2 * 102_400, 2 * 65_536]);
    expect([at(game, 1, so.SO_BROADCAST), at(game, 0, so.IP_PKTINFO)]).toEqual([1, 1]);
    expect([at(six, 41, so.IPV6_TCLASS), at(six, 41, so.IPV6_RECVPKTINFO)]).toEqual([8, 1]);
    expect([at(free4, 0, so.IP_FREEBIND), at(free6, 41, so.IPV6_FREEBIND), at(free4, 1, so.SO_REUSEPORT)]).toEqual([
      1, 1, 1,
    ]);
    expect(sockname(free6 ?? -1)).toMatchObject({ host: "2001:db8::7", port });
    expect(at(lo, 1, SO_BINDTOIFINDEX)).toBe(native.ifindex("lo"));
  });

  it("mode and owner of a path, and a mark, are set (needs root)", needs("root"), async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "a.sock");
    const port = await freePort();
    await using test = await startBroker({
      "arena.toml": `[sockets.a]\nlisten = ["unix://${path}"]\nmode = "0620"\nowner = 65534\ngroup = 12\n
        [sockets.b]\nlisten = ["udp://127.0.0.1:${port}"]\nmark = 77`,
    });
    const { mode, uid, gid } = lstatSync(path);
    expect([mode & 0o777, uid, gid]).toEqual([0o620, 65534, 12]);
    using peer = await take(test);
    expect(option(peer.fds[1]?.fd ?? -1, 1, so.SO_MARK)).toBe(77);
  });
});

it("a path belongs to the broker alone until its mode and owner are set", async () => {
  using folder = new TestFolder();
  const path = join(folder.path, "a.sock");
  const modes: number[] = [];
  const bind: Native["bind"] = (fd, address) => {
    const result = native.bind(fd, address);
    modes.push(lstatSync(path).mode & 0o777);
    return result;
  };
  const umask = process.umask(0);
  try {
    const listen = { kind: "stream", address: { family: "unix", path, abstract: false }, dualStack: false } as const;
    using _ = HeldSocket.open(listen, { backlog: 1, v6only: true, mode: 0o660 }, { ...native, bind });
    modes.push(lstatSync(path).mode & 0o777);
  } finally {
    process.umask(umask);
  }
  expect(modes).toEqual([0o600, 0o660]);
});

describe("a path that exists already", () => {
  it("a socket that a dead program left is replaced", async () => {
    using folder = new TestFolder();
    const path = join(folder.path, "a.sock");
    const fd = native.socket(1, 2, 0);
    native.bind(fd, encodeSockaddr({ family: "unix", path, abstract: false }));
    native.close(fd);
    await using _ = await startBroker({ "arena.toml": `[sockets.a]\nlisten = ["unix-dgram://${path}"]` });
    const client = native.socket(1, 2, 0);
    const address = encodeSockaddr({ family: "unix", path, abstract: false });
    expect(native.connect(client, address)).toBe(0);
    native.close(client);
  });

  it("a living one, a file, a folder and a symbolic link are refused by name, and stay", async () => {
    const before = await settledFds();
    using folder = new TestFolder({ file: "mine" });
    const at = (name: string): string => join(folder.path, name);
    mkdirSync(at("folder"));
    symlinkSync(at("file"), at("link"));
    const server = createServer().listen(at("living"));
    await once(server, "listening");
    const sockets = ["living", "file", "folder", "link"].map(
      (name) => `[sockets.${name}]\nlisten = ["unix://${at(name)}"]`,
    );
    const started = startBroker({ "arena.toml": sockets.join("\n") }, { strict: true });
    await expect(started).rejects.toThrow(/4 problems/);
    const message = String(await started.catch((error: unknown) => error));
    expect(message).toMatch(/socket living: bind .*EADDRINUSE/);
    for (const name of ["file", "folder", "link"])
      expect(message).toContain(`cannot bind ${at(name)}: a file that is not a socket`);
    expect(readFileSync(at("file"), "utf8")).toBe("mine");
    expect(lstatSync(at("link")).isSymbolicLink()).toBe(true);
    server.close();
    await once(server, "close");
    await expectFdsAgain(before);
  });
});
