/** The kernel drops joins at UDP sockets and copies their beginning, with who sent them; all else comes as ever. */
import { execFileSync, spawnSync } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdirSync, rmdirSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { JoinCopies } from "../../../src/broker/drain/refusal/join-copies.ts";
import { senderOf } from "../../../src/doorman/senders/sender.ts";
import { type DroppedJoin, readJoin } from "../../../src/doorman/sockets/refused-joins.ts";
import { FdHandle } from "../../../src/fd.ts";
import { type Native, native, RECEIVED_LENGTH } from "../../../src/native.ts";
import { AF_UNIX, encodeSockaddr } from "../../../src/net/address.ts";
import { JOIN_BYTES, JOIN_RECORD, JOIN_RING_BYTES } from "../../../src/net/join-program.ts";
import { isJoin, type JoinShape, lastJoinShapes } from "../../../src/net/join-shapes.ts";
import { socketCookie } from "../../../src/net/socket-queries.ts";
import { groupsRoot, needsGroups, needsNewGroups } from "../../support/bpf.ts";
import { lastJoins } from "../../support/doorman/last-joins.ts";
import { joins, queries, scans } from "../../support/doorman/scans.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { NetNamespace } from "../../support/net-namespace.ts";
import { freePort } from "../../support/ports.ts";
import { fixtures } from "../../support/puppet.ts";
import { boundSocket, socketPair } from "../../support/sockets.ts";

const { EAGAIN, EACCES, E2BIG, EBADF, EMFILE, ENOENT, EPERM } = constants.errno;
const PATIENCE = { timeout: 60_000, interval: 5 };
leaksNothing("soon");
const open: Disposable[] = [];

afterEach(() => {
  for (const one of open.splice(0).reverse()) one[Symbol.dispose]();
});

const shapes = (protocol: "quake3" | "a2s" | "teeworlds"): readonly JoinShape[] =>
  lastJoinShapes(protocol) ?? expect.unreachable();

function copied(sockets: readonly number[], protocol: Parameters<typeof shapes>[0]): JoinCopies {
  const copies = JoinCopies.open(sockets, shapes(protocol), native);
  if (typeof copies === "string") throw new Error(copies);
  return copies;
}

interface Scene {
  readonly port: number;
  readonly server: FdHandle;
  readonly copies: JoinCopies;
  /** All copies so far, once there are so many. */
  readonly seen: (count: number) => Promise<readonly DroppedJoin[]>;
}

async function scene(host: string, protocol: Parameters<typeof shapes>[0]): Promise<Scene> {
  const port = await freePort();
  return sceneOf(boundSocket(`udp://${host}:${port}`), port, protocol);
}

function sceneOf(server: FdHandle, port: number, protocol: Parameters<typeof shapes>[0]): Scene {
  const copies = copied([server.fd], protocol);
  const ring = new native.BpfRing(copies.ring, JOIN_RING_BYTES);
  open.push(server, copies, { [Symbol.dispose]: () => ring.close() });
  const record = Buffer.alloc(JOIN_RECORD.data + JOIN_BYTES);
  const all: DroppedJoin[] = [];
  const seen = async (count: number): Promise<readonly DroppedJoin[]> => {
    await vi.waitFor(() => {
      while (ring.read(record) > 0) all.push(readJoin(Buffer.from(record)) ?? expect.unreachable());
      expect(all.length).toBeGreaterThanOrEqual(count);
    }, PATIENCE);
    return all;
  };
  return { port, server, copies, seen };
}

async function client(port: number, host: string): Promise<Socket> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.connect(port, host);
  await once(socket, "connect");
  open.push({ [Symbol.dispose]: () => socket.close() });
  return socket;
}

const send = (socket: Socket, bytes: Uint8Array): Promise<void> =>
  new Promise((done, fail) => socket.send(bytes, (error) => (error ? fail(error) : done())));

/** Opened by a process that has ended. It was started by `wrap`, and ran this Python before. */
function openedElsewhere(host: string, port: number, { wrap = [] as readonly string[], before = "" }): FdHandle {
  const [own, channel] = socketPair();
  using ours = own;
  using theirs = channel;
  const code = [
    "import socket, sys",
    before,
    "server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "server.bind((sys.argv[1], int(sys.argv[2])))",
    "socket.send_fds(socket.socket(fileno=3), [b'.'], [server.fileno()])",
  ].join("\n");
  const [program = "", ...words] = [...wrap, "python3", "-S", "-c", code, host, String(port)];
  expect(spawnSync(program, words, { stdio: ["ignore", "ignore", "inherit", theirs.fd] }).status).toBe(0);
  const received = new Int32Array(RECEIVED_LENGTH);
  expect(native.recvmsg(ours.fd, Buffer.alloc(1), 0, received)).toBe(1);
  return FdHandle.adopt(received[2] ?? -1);
}

/** Sends one datagram in an unusual way, from port 1001: test/fixtures/forged-datagram.py. */
function forge(how: string, port: number, data: Buffer): void {
  execFileSync("python3", ["-S", join(fixtures, "forged-datagram.py"), how, String(port), data.toString("hex")]);
}

/** What the socket has got, once it has this last one. Datagrams of loopback come in their order. */
async function until({ fd }: FdHandle, last: Buffer): Promise<Buffer[]> {
  const all: Buffer[] = [];
  await vi.waitFor(() => {
    for (;;) {
      const bytes = Buffer.alloc(2048);
      const length = native.recvfrom(fd, bytes, Buffer.alloc(28), 0);
      if (length === -EAGAIN) break;
      all.push(bytes.subarray(0, length));
    }
    expect(all.at(-1)?.equals(last)).toBe(true);
  }, PATIENCE);
  return all.slice(0, -1);
}

const bytesOf = ({ bytes }: { readonly bytes: Buffer }): Buffer => bytes;
const { bytes: CONNECT } = lastJoins["Quake III"] ?? expect.unreachable();
const LAST = Buffer.from("the last one");
const QUESTION = Buffer.from("\xff\xff\xff\xffgetchallenge 1", "latin1");

describe("joins", needsGroups(), () => {
  it.each([
    ["127.0.0.1", "127.0.0.1", "127.0.0.1"],
    ["0.0.0.0", "127.0.0.1", "127.0.0.1"],
    ["[::1]", "::1", "::1"],
    ["*", "127.0.0.1", "127.0.0.1"],
    ["*", "::1", "::1"],
  ])("are dropped and copied, with who sent them: a socket at %s, from %s", async (host, to, from) => {
    const { port, server, seen } = await scene(host, "quake3");
    const player = await client(port, to);
    await send(player, CONNECT);
    await send(player, LAST);
    expect(await until(server, LAST)).toEqual([]);
    const [join, ...others] = await seen(1);
    expect(others).toEqual([]);
    expect(join).toMatchObject({ cookie: socketCookie(server.fd, native), length: CONNECT.length });
    expect(Buffer.from(join?.beginning ?? []).equals(CONNECT.subarray(0, JOIN_BYTES))).toBe(true);
    expect(senderOf(join?.sockaddr ?? Buffer.of())).toMatchObject({ host: from, port: player.address().port });
  });

  it.each(["quake3", "a2s", "teeworlds"] as const)("of %s alone are dropped, and only the last ones", async (of) => {
    const { port, server, seen } = await scene("127.0.0.1", of);
    const player = await client(port, "127.0.0.1");
    const all = [...Object.values(scans), ...Object.values({ ...queries, ...joins, ...lastJoins }).map(bytesOf)];
    const sent = all.filter(({ length }) => length > 0);
    let dropped = 0;
    // As many at a time as have room.
    for (let from = 0; from < sent.length; from += 20) {
      const some = sent.slice(from, from + 20);
      for (const bytes of [...some, LAST]) await send(player, bytes);
      const passing = some.filter((bytes) => !isJoin(bytes, shapes(of)));
      expect((await until(server, LAST)).map((bytes) => bytes.toString("hex"))).toEqual(
        passing.map((bytes) => bytes.toString("hex")),
      );
      dropped += some.length - passing.length;
      expect((await seen(dropped)).length).toBe(dropped);
    }
    expect(dropped).toBeGreaterThan(1);
  });

  it.each([1, 7, 8, 11, 12, 63, 64, 65, 1400])(
    "of %i bytes are copied up to a limit, if they are some",
    async (length) => {
      const { port, server, seen } = await scene("127.0.0.1", "quake3");
      const player = await client(port, "127.0.0.1");
      const join = Buffer.concat([Buffer.from("\xff\xff\xff\xffconnect ", "latin1"), Buffer.alloc(1400, 7)]);
      const bytes = join.subarray(0, length);
      await send(player, bytes);
      await send(player, LAST);
      const came = await until(server, LAST);
      expect(came.map((one) => one.length)).toEqual(length < 8 ? [length] : []);
      const all = await seen(length < 8 ? 0 : 1);
      const beginning = bytes.subarray(0, JOIN_BYTES).toString("hex");
      const expected = length < 8 ? [] : [[length, beginning]];
      expect(all.map((one) => [one.length, Buffer.from(one.beginning).toString("hex")])).toEqual(expected);
    },
  );

  // The header of UDP has 8 bytes: cut after that, the data begins in the second fragment.
  it.each([
    ["IPv4, options", "127.0.0.1"],
    ["IPv4, cut after 8", "127.0.0.1"],
    ["IPv4, cut after 48", "127.0.0.1"],
    ["IPv6, cut after 8", "::1"],
    ["IPv6, cut after 48", "::1"],
  ])("are dropped and copied as a whole, however they come: %s", async (how, from) => {
    const { port, server, seen } = await scene("*", "quake3");
    const player = await client(port, from);
    forge(how, port, CONNECT);
    await send(player, LAST);
    expect(await until(server, LAST)).toEqual([]);
    const [join] = await seen(1);
    expect(join?.length).toBe(CONNECT.length);
    expect(Buffer.from(join?.beginning ?? []).equals(CONNECT.subarray(0, JOIN_BYTES))).toBe(true);
    expect(senderOf(join?.sockaddr ?? Buffer.of())).toMatchObject({ host: from, port: 1001 });
  });

  it("of IPv6 with an extension header are left to the filter of the socket", async () => {
    const { port, server, seen } = await scene("[::1]", "quake3");
    const player = await client(port, "::1");
    forge("IPv6, extension header", port, CONNECT);
    await send(player, LAST);
    expect((await until(server, LAST)).map((one) => one.equals(CONNECT))).toEqual([true]);
    expect(await seen(0)).toEqual([]);
  });

  // Each host of the network gets such a packet, and would answer it.
  it("by broadcast are dropped, and not copied", needs("unshare", "nsenter", "ip"), async () => {
    await using host = await NetNamespace.make();
    await using other = await NetNamespace.make();
    host.plug("cable", other);
    const port = await freePort();
    const { server, seen } = sceneOf(openedElsewhere("0.0.0.0", port, { wrap: host.wrap }), port, "quake3");
    const sent = [
      ["10.9.0.255", QUESTION],
      ["10.9.0.255", CONNECT],
      ["10.9.0.1", CONNECT],
      ["10.9.0.1", LAST],
    ] as const;
    const code = [
      "import os, socket, sys",
      // One processor, so that they come in this order.
      "os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])",
      "player = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
      "player.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)",
      ...sent.map(([to, data]) => `player.sendto(bytes.fromhex("${data.toString("hex")}"), ("${to}", ${port}))`),
    ].join("\n");
    other.run("python3", "-S", "-c", code);
    expect((await until(server, LAST)).map((one) => one.equals(QUESTION))).toEqual([true]);
    expect((await seen(1)).map(({ sockaddr }) => senderOf(sockaddr)?.host)).toEqual(["10.9.0.2"]);
  });

  // As of a socket that a broker opened whose service was started again.
  it(
    "are dropped and copied where the control group is gone in which the socket was opened",
    needsNewGroups(),
    async () => {
      const group = join(groupsRoot() ?? "", `berthd-test-${process.pid}-joins`);
      const port = await freePort();
      mkdirSync(group);
      let opened: FdHandle | undefined;
      try {
        opened = openedElsewhere("127.0.0.1", port, { before: `open("${group}/cgroup.procs", "w").write("0")` });
      } finally {
        await vi.waitFor(() => rmdirSync(group), PATIENCE);
      }
      const { server, seen } = sceneOf(opened, port, "quake3");
      const player = await client(port, "127.0.0.1");
      await send(player, CONNECT);
      await send(player, LAST);
      expect(await until(server, LAST)).toEqual([]);
      expect((await seen(1)).map(({ length }) => length)).toEqual([CONNECT.length]);
    },
  );

  it("of another socket come in, and of this one again afterwards", async () => {
    const { port, server, copies, seen } = await scene("127.0.0.1", "quake3");
    const otherPort = await freePort();
    const other = boundSocket(`udp://127.0.0.1:${otherPort}`);
    open.push(other);
    const [player, stranger] = [await client(port, "127.0.0.1"), await client(otherPort, "127.0.0.1")];
    for (const socket of [player, stranger]) {
      await send(socket, CONNECT);
      await send(socket, LAST);
    }
    expect((await until(other, LAST)).length).toBe(1);
    expect((await until(server, LAST)).length).toBe(0);
    expect((await seen(1)).length).toBe(1);
    copies[Symbol.dispose]();
    await send(player, CONNECT);
    await send(player, LAST);
    expect((await until(server, LAST)).length).toBe(1);
  });

  it("are dropped where the ring is full, and players go on", async () => {
    const { port, server, seen } = await scene("127.0.0.1", "quake3");
    const player = await client(port, "127.0.0.1");
    for (let times = 0; times < 1000; times++) await send(player, CONNECT);
    await send(player, LAST);
    expect(await until(server, LAST)).toEqual([]);
    const { length } = await seen(100);
    expect(length).toBeLessThan(200);
    await send(player, CONNECT);
    expect((await seen(length + 1)).length).toBe(length + 1);
  });

  it.each([
    ["bpfMap", EPERM, /^the kernel does not let the broker look at datagrams \(bpf: EPERM\); /],
    ["bpfLinkGroup", EPERM, /^the kernel .* \(bpf: EPERM\); .*bpftool cgroup show \/sys\/fs\/cgroup/],
    ["openat2", EPERM, /^the kernel does not let the broker look at datagrams \(openat2: EPERM\); /],
    ["bpfGroupFilter", EACCES, "bpf: EACCES"],
    ["openat2", EMFILE, "openat2: EMFILE"],
    ["openat2", ENOENT, "control groups of version 2 are not mounted"],
    ["bpfLinkGroup", EBADF, "control groups of version 2 are not mounted"],
    ["bpfLinkGroup", E2BIG, "too many berths do so at once"],
  ] as const)("come in after a failure of %s (%i), which leaves nothing behind and says why", (call, errno, why) => {
    using server = boundSocket("udp://127.0.0.1:0");
    const sys: Native = { ...native, [call]: () => -errno };
    const said = JoinCopies.open([server.fd], shapes("quake3"), sys);
    if (typeof why === "string") expect(said).toBe(why);
    else expect(said).toMatch(why);
  });
});

it("a record that is too short, or without a sender, is none", () => {
  const record = Buffer.alloc(JOIN_RECORD.data + JOIN_BYTES);
  encodeSockaddr({ family: "ipv4", host: "192.0.2.7", port: 1001 }).copy(record, JOIN_RECORD.sender);
  expect(senderOf(readJoin(record)?.sockaddr ?? Buffer.of())).toMatchObject({ host: "192.0.2.7", port: 1001 });
  expect(readJoin(record.subarray(0, -1))).toBeUndefined();
  record.writeUInt16LE(AF_UNIX, JOIN_RECORD.sender);
  expect(readJoin(record)).toBeUndefined();
});
