/** The filter that drops joins: what it drops in the kernel, and that the server's own comes back as it was. */
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { type Joins, joinFilter, ownFilter } from "../../../src/broker/drain/join-filter.ts";
import { holdJoins, letJoinsIn } from "../../../src/broker/drain/join-plan.ts";
import { Guard } from "../../../src/broker/guard/guard.ts";
import { runGuarded } from "../../../src/broker/plans/guarded-plan.ts";
import type { SocketPlan, SocketResult } from "../../../src/broker/plans/socket-call.ts";
import { check } from "../../../src/errors.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { encodeSockaddr } from "../../../src/net/address.ts";
import { isJoin, JOIN_PROTOCOLS, type JoinShape, joinShapes } from "../../../src/net/join-shapes.ts";
import { SOL_SOCKET } from "../../../src/net/socket-constants.ts";
import { boundAddress } from "../../../src/net/socket-queries.ts";
import { leaksNothing } from "../../support/fds.ts";
import { runs } from "../../support/property-runs.ts";

leaksNothing("soon");

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SO_LOCK_FILTER = 44;
const opened: (() => void)[] = [];
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

function guard(): Guard {
  const made = new Guard({ sys: native, log: () => undefined });
  opened.push(() => made[Symbol.dispose]());
  return made;
}

function udp(): FdHandle {
  const socket = FdHandle.adopt(check("socket", native.socket(AF_INET, SOCK_DGRAM, 0)));
  opened.push(() => socket.close());
  return socket;
}

/** A socket, and one that sends to it. */
function pair(): { readonly socket: FdHandle; send(payload: Uint8Array): void; received(): Buffer[] } {
  const [socket, sender] = [udp(), udp()];
  native.bind(socket.fd, encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port: 0 }));
  const address = boundAddress(socket.fd, native);
  if (address?.family !== "ipv4") throw new Error("the socket has no address");
  native.connect(sender.fd, encodeSockaddr(address));
  const room = Buffer.alloc(2048);
  const received = (): Buffer[] => {
    const all: Buffer[] = [];
    for (;;) {
      const size = native.recvbytes(socket.fd, room, 2);
      if (size < 0) return all;
      all.push(Buffer.from(room.subarray(0, size)));
    }
  };
  // The kernel delivers on loopback before send(2) returns.
  const send = (payload: Uint8Array): void => {
    native.sendmsg(sender.fd, payload, 0, new Int32Array(0), 0);
  };
  return { socket, send, received };
}

async function run<T>(plan: SocketPlan<T>, socket: FdHandle, by: Guard): Promise<T> {
  const done = await runGuarded(plan, socket.fd, by, "broker");
  if (typeof done === "string") throw new Error(done);
  return done.value;
}

function* filterPlan(): SocketPlan<Buffer> {
  const [found] = yield [{ call: "getfilter" }];
  if (found === undefined || found.result < 0) throw new Error(`SO_GET_FILTER: ${found?.result}`);
  return Buffer.from(new Uint8Array(found.value.buffer, found.value.byteOffset, found.result * 8));
}

function* setPlan(program: Uint8Array): SocketPlan<number> {
  const [done] = yield [{ call: "setfilter", program }];
  return done?.result ?? 0;
}

/**
 * Keeps the first 10 bytes, the header's 8 included, of a datagram whose first byte is above 0x80; drops the others.
 */
const own = Buffer.from([
  ...[0x30, 0, 0, 0, 8, 0, 0, 0],
  ...[0x35, 0, 0, 1, 0x80, 0, 0, 0],
  ...[0x06, 0, 0, 0, 10, 0, 0, 0],
  ...[0x06, 0, 0, 0, 0, 0, 0, 0],
]);

const shapesOf = (protocol: string): readonly JoinShape[] => joinShapes(protocol) ?? [];

/** A datagram that has the shape. */
function example(shape: JoinShape, length: number): Buffer {
  const least = Math.max(...shape.map(({ offset, size }) => offset + size));
  const payload = Buffer.alloc(Math.max(least, length));
  for (const { offset, size, value } of shape)
    if (size === 1) payload.writeUInt8(value, offset);
    else payload.writeUInt32BE(value, offset);
  return payload;
}

/** Datagrams that are joins, nearly joins, and something else. */
const datagram = (shapes: readonly JoinShape[]): fc.Arbitrary<Buffer> =>
  fc.oneof(
    fc
      .tuple(fc.constantFrom(...shapes), fc.nat(40), fc.nat(20), fc.nat(255), fc.nat(20))
      .map(([shape, length, at, byte, cut]) => {
        const payload = example(shape, length);
        if (byte > 40) payload[at % payload.length] = byte;
        return cut > 15 ? payload.subarray(0, cut - 14) : payload;
      }),
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  );

describe.each(JOIN_PROTOCOLS)("the joins of %s", (protocol) => {
  const shapes = shapesOf(protocol);

  it("are dropped, and nothing else is, whatever the datagram", async () => {
    const { socket, send, received } = pair();
    const by = guard();
    expect(await run(holdJoins(shapes), socket, by)).toBeUndefined();
    fc.assert(
      fc.property(datagram(shapes), (payload) => {
        send(payload);
        const expected = isJoin(payload, shapes) ? [] : [payload];
        expect(received()).toEqual(expected);
      }),
      { numRuns: runs(300) },
    );
    expect(await run(letJoinsIn(), socket, by)).toBeUndefined();
    expect((await run(filterPlan(), socket, by)).length).toBe(0);
    for (const shape of shapes) send(example(shape, 0));
    expect(received()).toEqual(shapes.map((shape) => example(shape, 0)));
  });

  it("are dropped beside what the server's own filter drops, and that comes back as it was", async () => {
    const { socket, send, received } = pair();
    const by = guard();
    expect(await run(setPlan(own), socket, by)).toBe(0);
    // Twice: as after a restart of the broker.
    for (let times = 0; times < 2; times++) expect(await run(holdJoins(shapes), socket, by)).toBeUndefined();
    for (const shape of shapes) send(example(shape, 0));
    send(Buffer.from([0x90, 1, 2, 3]));
    send(Buffer.from([0x10, 1, 2, 3]));
    expect(received()).toEqual([Buffer.from([0x90, 1])]);
    expect(await run(letJoinsIn(), socket, by)).toBeUndefined();
    expect(await run(filterPlan(), socket, by)).toEqual(own);
  });
});

it("are those of the first protocol that is known", () => {
  expect(joinShapes("valheim", undefined, "bedrock", "quake3")).toBe(joinShapes("bedrock"));
  expect(joinShapes("valheim", undefined)).toBeUndefined();
});

it("drops no status query and no packet of a player", () => {
  const quake = Buffer.from("\xff\xff\xff\xffgetstatus xxx", "latin1");
  const info = Buffer.from("\xff\xff\xff\xffgetinfo xxx", "latin1");
  const a2s = Buffer.from("\xff\xff\xff\xffTSource Engine Query\0", "latin1");
  const ping = Buffer.from("01000000000000000000ffff00fefefefefdfdfdfd12345678", "hex");
  const raknet = Buffer.from("840000004000900000000900", "hex");
  const browser = Buffer.from("ffffffffffffffffffff67696533aa", "hex");
  const keepAlive = Buffer.from("10000000", "hex");
  const chunk = Buffer.from("00010141011b4000", "hex");
  for (const protocol of JOIN_PROTOCOLS)
    for (const packet of [quake, info, a2s, ping, raknet, browser, keepAlive, chunk])
      expect(isJoin(packet, shapesOf(protocol)), `${protocol} ${packet.toString("hex")}`).toBe(false);
});

describe("a socket whose filter cannot be changed", () => {
  const held: Joins = "connections";
  it("has its joins go on where the server has locked its filter", async () => {
    const { socket } = pair();
    const by = guard();
    expect(await run(setPlan(own), socket, by)).toBe(0);
    expect(native.setsockopt(socket.fd, SOL_SOCKET, SO_LOCK_FILTER, 1)).toBe(0);
    expect(await run(holdJoins(held), socket, by)).toBe("its server has locked the socket's filter");
    expect(await run(filterPlan(), socket, by)).toEqual(own);
  });

  it("says so where the server locks the filter meanwhile", async () => {
    const { socket } = pair();
    const by = guard();
    expect(await run(holdJoins(held), socket, by)).toBeUndefined();
    expect(native.setsockopt(socket.fd, SOL_SOCKET, SO_LOCK_FILTER, 1)).toBe(0);
    expect(await run(letJoinsIn(), socket, by)).toBe("its server has locked the socket's filter");
  });

  const ends = (plan: SocketPlan<string | undefined>, ...results: readonly SocketResult[][]): string | undefined => {
    let step = plan.next();
    for (const one of results) step = plan.next(one);
    if (step.done !== true) throw new Error("the plan goes on");
    return step.value;
  };
  const result = (value: number): SocketResult => ({ result: value, value: new Int32Array(0) });

  it("has its joins go on where that is of eBPF, which nobody could put back", () => {
    expect(ends(holdJoins(held), [result(-13), result(0)])).toContain("a filter of eBPF");
    expect(ends(letJoinsIn(), [result(-13)])).toBeUndefined();
  });

  it("has its connections go on where the kernel lets only privileged users filter TCP", () => {
    const why = ends(holdJoins("connections"), [result(0), result(0)], [result(-1)]);
    expect(why).toBe("the kernel lets only those with CAP_NET_ADMIN filter TCP (EPERM)");
  });

  it("has its joins go on where the kernel has no memory for the filter", () => {
    expect(ends(holdJoins(held), [result(0), result(0)], [result(-12)])).toContain("SO_ATTACH_FILTER: ENOMEM");
  });
});

it("has room for the server's filter up to the kernel's maximum", () => {
  const instructions = (count: number): Buffer => Buffer.alloc(count * 8, own.subarray(0, 8));
  expect(joinFilter("connections", instructions(4089))?.length).toBe(4096 * 8);
  expect(joinFilter("connections", instructions(4090))).toBeUndefined();
});

it("no other program is taken for the broker's", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      expect(ownFilter(bytes)).toBeUndefined();
      const program = joinFilter("connections", Buffer.from(bytes.subarray(0, bytes.length & ~7)));
      expect(ownFilter(program ?? bytes)).toEqual(Buffer.from(bytes.subarray(0, bytes.length & ~7)));
    }),
  );
});
