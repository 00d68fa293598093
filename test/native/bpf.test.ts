import { constants } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native, READABLE } from "../../src/native.ts";
import { FROM_NETWORK_HEADER, HELPERS, MAP_TYPES, PACKET, Program } from "../../src/net/bpf-program.ts";
import { SO_ATTACH_BPF, SO_DETACH_FILTER, SOL_SOCKET } from "../../src/net/socket-constants.ts";
import { runWithAddon } from "../support/addon-child.ts";
import { loaded, needsBpf, RING_BYTES } from "../support/bpf.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { boundSocket } from "../support/sockets.ts";

const { EACCES, EAGAIN, EBADF, EINVAL, EPERM, ENOENT } = constants.errno;
const UDP_HEADER = 8;
const PASS = -1;
const NOTHING = new Uint8Array(0);

leaksNothing();
const open: Disposable[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one[Symbol.dispose]();
});

function own(call: string, fd: number): number {
  const handle = FdHandle.adopt(check(call, fd));
  open.push(handle);
  return handle.fd;
}

function map(type: number, key: number, value: number, entries: number): number {
  return own("bpf", native.bpfMap(type, key, value, entries));
}

function ringOf(fd: number): InstanceType<typeof native.BpfRing> {
  const ring = new native.BpfRing(fd, RING_BYTES);
  open.push({ [Symbol.dispose]: () => ring.close() });
  check("mmap", ring.status);
  return ring;
}

function load(program: Program): number {
  return own("bpf", loaded(program));
}

/** Two sockets of UDP: what the first sends, the second gets. */
async function pair(): Promise<[number, number]> {
  const port = await freePort();
  const to = boundSocket(`udp://127.0.0.1:${port}`);
  const from = boundSocket("udp://127.0.0.1:0");
  open.push(to, from);
  const address = Buffer.alloc(16);
  check("getsockname", native.getsockname(to.fd, address));
  check("connect", native.connect(from.fd, address));
  return [from.fd, to.fd];
}

function send(fd: number, bytes: Uint8Array): void {
  check("sendmsg", native.sendmsg(fd, bytes, 0, new Int32Array(0), 0));
}

/** What has come, as text; undefined if nothing has. */
function received(fd: number): string | undefined {
  const into = Buffer.alloc(2048);
  const length = native.recvfrom(fd, into, Buffer.alloc(16), 0);
  return length === -EAGAIN ? undefined : into.toString("latin1", 0, check("recvfrom", length));
}

/** Copies the first eight bytes of each datagram to the ring, where there is room, and lets all pass. */
function copying(ring: number): Program {
  return new Program()
    .copy(6, 1)
    .map(1, ring)
    .set(2, 8)
    .set(3, 0)
    .call(HELPERS.ringReserve)
    .jumpIf(0, "equal", 0, "pass")
    .copy(7, 0)
    .storeNumber(8, 7, 0, 0)
    .copy(1, 6)
    .set(2, UDP_HEADER)
    .copy(3, 7)
    .set(4, 8)
    .call(HELPERS.loadBytes)
    .copy(1, 7)
    .set(2, 0)
    .call(HELPERS.ringSubmit)
    .label("pass")
    .set(0, PASS)
    .exit();
}

describe("a map", needsBpf(), () => {
  it("keeps values by their keys until they are deleted", () => {
    const hash = map(MAP_TYPES.hash, 4, 8, 2);
    const [key, other] = [Buffer.from("key1"), Buffer.from("key2")];
    expect(native.bpfSet(hash, key, Buffer.from("12345678"))).toBe(0);
    const value = Buffer.alloc(8);
    expect(native.bpfGet(hash, key, value)).toBe(0);
    expect(value.toString()).toBe("12345678");
    expect(native.bpfGet(hash, other, value)).toBe(-ENOENT);
    expect(native.bpfDelete(hash, key)).toBe(0);
    expect(native.bpfDelete(hash, key)).toBe(-ENOENT);
  });

  it("says what the kernel says of sizes that it does not take", () => {
    expect(native.bpfMap(MAP_TYPES.ring, 0, 0, 5000)).toBe(-EINVAL);
    expect(native.bpfMap(9999, 4, 4, 1)).toBe(-EINVAL);
  });
});

describe("a socket filter", needsBpf(), () => {
  it("decides by a map, while it is attached, what a socket gets", async () => {
    const [from, to] = await pair();
    const closed = map(MAP_TYPES.array, 4, 4, 1);
    const program = load(
      new Program()
        .storeNumber(4, 10, -4, 0)
        .copy(2, 10)
        .compute(2, "add", -4)
        .map(1, closed)
        .call(HELPERS.mapLookup)
        .jumpIf(0, "equal", 0, "pass")
        .load(4, 1, 0, 0)
        .jumpIf(1, "equal", 0, "pass")
        .set(0, 0)
        .exit()
        .label("pass")
        .set(0, PASS)
        .exit(),
    );
    expect(native.filterLength(to)).toBe(0);
    check("setsockopt", native.setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, program));
    expect(native.filterLength(to)).toBe(-EACCES);
    send(from, Buffer.from("one"));
    expect(native.bpfSet(closed, Buffer.alloc(4), Buffer.from([1, 0, 0, 0]))).toBe(0);
    send(from, Buffer.from("two"));
    check("setsockopt", native.setsockopt(to, SOL_SOCKET, SO_DETACH_FILTER, 0));
    send(from, Buffer.from("three"));
    expect([received(to), received(to), received(to)]).toEqual(["one", "three", undefined]);
  });

  it("is refused with the verifier's words if it may read outside of its memory", () => {
    const log = Buffer.alloc(4096);
    expect(native.bpfSocketFilter(new Program().load(8, 0, 1, 5000).exit().encode(), log)).toBeLessThan(0);
    expect(log.toString("latin1")).toContain("invalid bpf_context access");
    expect(native.bpfSocketFilter(NOTHING, NOTHING)).toBeLessThan(0);
    expect(native.filterLength(-1)).toBe(-EBADF);
  });

  it("reads fields, compares and computes as the kernel does", async () => {
    const [from, to] = await pair();
    const ring = map(MAP_TYPES.ring, 0, 0, RING_BYTES);
    // Its length without the header, the port of the sender, and the version of IP; those of a low port pass only.
    const program = new Program()
      .copy(6, 1)
      .load(4, 7, 6, PACKET.length)
      .compute(7, "subtract", UDP_HEADER)
      .compute(7, "shift left", 8)
      .compute(7, "shift right", 8)
      .store(8, 10, -32, 7)
      .copy(1, 6)
      .set(2, 0)
      .copy(3, 10)
      .compute(3, "add", -8)
      .set(4, 2)
      .call(HELPERS.loadBytes)
      .load(2, 8, 10, -8)
      .swapFromNetwork(8, 2)
      .store(8, 10, -24, 8)
      .copy(1, 6)
      .set(2, 0)
      .copy(3, 10)
      .compute(3, "add", -8)
      .set(4, 1)
      .set(5, FROM_NETWORK_HEADER)
      .call(HELPERS.loadBytesRelative)
      .load(1, 9, 10, -8)
      .compute(9, "and", 0xf0)
      .set(1, 0x0f)
      .computeBy(9, "or", 1)
      .store(8, 10, -16, 9)
      .map(1, ring)
      .copy(2, 10)
      .compute(2, "add", -32)
      .set(3, 24)
      .set(4, 0)
      .call(HELPERS.ringOutput)
      .setLong(1, 0x1_0000_0000n)
      .jumpIfBy(8, "at least", 1, "drop")
      .jumpIf(9, "any bit of", 0x40, "pass")
      .label("drop")
      .set(0, 0)
      .exit()
      .label("pass")
      .set(0, PASS)
      .exit();
    check("setsockopt", native.setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, load(program)));
    send(from, Buffer.from("hello"));
    expect(received(to)).toBe("hello");
    const record = new BigUint64Array(3);
    expect(ringOf(ring).read(new Uint8Array(record.buffer))).toBe(24);
    const address = Buffer.alloc(16);
    native.getsockname(from, address);
    expect([...record]).toEqual([5n, BigInt(address.readUInt16BE(2)), 0x4fn]);
  });

  it("cannot be loaded without CAP_BPF", needs("setpriv"), async () => {
    const script = `console.log(sys.bpfMap(27, 0, 0, 4096), sys.bpfSocketFilter(new Uint8Array(8), new Uint8Array(0)))`;
    const wrap = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    expect((await runWithAddon(script, { wrap })).stdout.trim()).toBe(`${-EPERM} ${-EPERM}`);
  });
});

describe("a ring", needsBpf(), () => {
  it("gives records in order, again and again around its end, and wakes who waits", async () => {
    const [from, to] = await pair();
    const fd = map(MAP_TYPES.ring, 0, 0, RING_BYTES);
    const ring = ringOf(fd);
    check("setsockopt", native.setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, load(copying(fd))));
    const record = Buffer.alloc(8);
    expect(ring.read(record)).toBe(-EAGAIN);
    // 16 bytes each: three times around.
    for (let number = 0; number < (3 * RING_BYTES) / 16; number++) {
      record.writeUInt32LE(number);
      const ready = new Promise<void>((resolve) => {
        const poll = new native.Poll(fd, () => {
          poll.close();
          resolve();
        });
        check("poll", poll.start(READABLE));
      });
      send(from, record);
      await ready;
      record.fill(0xff);
      expect(ring.read(record)).toBe(8);
      expect(record.readUInt32LE()).toBe(number);
      expect(received(to)).toHaveLength(8);
    }
    expect(ring.read(record)).toBe(-EAGAIN);
  });

  it("loses records but no packet when it is full, and goes on once it has been read", async () => {
    const [from, to] = await pair();
    const fd = map(MAP_TYPES.ring, 0, 0, RING_BYTES);
    check("setsockopt", native.setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, load(copying(fd))));
    const record = Buffer.alloc(8);
    for (let number = 0; number < 1000; number++) {
      record.writeUInt32LE(number);
      send(from, record);
      expect(received(to)).toHaveLength(8);
    }
    const ring = ringOf(fd);
    let numbers = 0;
    for (; ring.read(record) > 0; numbers++) expect(record.readUInt32LE()).toBe(numbers);
    expect(numbers).toBe(RING_BYTES / 16 - 1);
    send(from, Buffer.from("again..."));
    expect(ring.read(record)).toBe(8);
    expect(record.toString()).toBe("again...");
  });

  it("says that it is closed, or could not be mapped", () => {
    const fd = map(MAP_TYPES.ring, 0, 0, RING_BYTES);
    const ring = ringOf(fd);
    ring.close();
    ring.close();
    expect(ring.read(Buffer.alloc(8))).toBe(-EBADF);
    const failed = new native.BpfRing(fd, 2 * RING_BYTES);
    expect(failed.status).toBe(-EINVAL);
    expect(failed.read(Buffer.alloc(8))).toBe(-EINVAL);
    expect(() => new native.BpfRing(Number.NaN, 0)).toThrow(TypeError);
  });
});
