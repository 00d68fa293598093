/** Copies of segments, put together to what clients have said. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Arrival, Arrivals, bytesOf, readSegment, type Segment } from "../../src/doorman/sockets/arrivals.ts";
import { HeldLogins } from "../../src/doorman/sockets/held-logins.ts";
import { encodeSockaddr } from "../../src/net/address.ts";
import { MOST_DATA, RECORD } from "../../src/net/arrival-program.ts";

const MOST_CONNECTIONS = 512;
const MOST_SEGMENTS = 32;
const sender = { host: "192.0.2.1", family: "ipv4", port: 4000, length: 16 } as const;

const segment = (data: Uint8Array, sequence: number, more: Partial<Segment> = {}): Segment => ({
  ...{ sequence: sequence >>> 0, cookie: 2n, sender, isCut: false, data },
  ...more,
});

/** A record as the program writes it. */
function record(host: string, data: Uint8Array, length: number = data.length): Buffer {
  const bytes = Buffer.alloc(RECORD.data + data.length);
  bytes.writeUInt32LE(length, RECORD.length);
  bytes.writeUInt32BE(0xfffffff0, RECORD.sequence);
  bytes.writeBigUInt64LE(7n, RECORD.cookie);
  bytes.set(encodeSockaddr({ family: host.includes(":") ? "ipv6" : "ipv4", host, port: 4000 }), RECORD.sender);
  bytes.set(data, RECORD.data);
  return bytes;
}

function added(arrivals: Arrivals, ...segments: readonly Segment[]): Arrival {
  return segments.map((one) => arrivals.add(one)).at(-1) ?? expect.unreachable();
}

describe("a record", () => {
  it.each(["192.0.2.1", "2001:db8::1"])("tells who has sent what: %s", (host) => {
    const read = readSegment(record(host, Buffer.from("hello")));
    expect(read).toMatchObject({ sequence: 0xfffffff0, cookie: 7n, isCut: false, sender: { host, port: 4000 } });
    expect(Buffer.from(read?.data ?? []).toString()).toBe("hello");
  });

  it("of an IPv4 client of an IPv6 socket has the client's address, as the accepted connection has", () => {
    const read = readSegment(record("::ffff:192.0.2.1", Buffer.of(1)));
    expect(read?.sender).toMatchObject({ host: "192.0.2.1", family: "ipv4", port: 4000 });
  });

  it("says whether its segment had more", () => {
    expect(readSegment(record("192.0.2.1", Buffer.alloc(MOST_DATA), MOST_DATA + 1))?.isCut).toBe(true);
  });

  it("of any bytes is a segment or none, and never fails", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const read = readSegment(bytes);
        if (read !== undefined) expect(read.data.length).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });
});

describe("what a connection has said", () => {
  it("is the same whatever the order, the overlaps and the repetitions of its segments", () => {
    const cuts = fc.array(fc.tuple(fc.nat(120), fc.nat(120)), { maxLength: 12 });
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 120 }),
        fc.nat(0xffffffff),
        cuts,
        fc.nat(),
        (text, start, pieces, turn) => {
          // The whole in two halves, and any parts of it.
          const half = text.length >> 1;
          const parts = [
            [0, half],
            [half, text.length],
            ...pieces.map(([one, other]) => [Math.min(one, other), Math.max(one, other)]),
          ]
            .map(([from = 0, to = 0]) => [from, Math.min(to, text.length)] as const)
            .filter(([from, to]) => to > from)
            .map(([from, to]) => segment(text.subarray(from, to), start + from));
          const turned = [...parts.slice(turn % parts.length), ...parts.slice(0, turn % parts.length)];
          expect([...bytesOf(added(new Arrivals(), ...turned))]).toEqual([...text]);
        },
      ),
    );
  });

  it("ends where bytes are missing", () => {
    const arrivals = new Arrivals();
    const text = Buffer.from("abcdef");
    expect(bytesOf(added(arrivals, segment(text.subarray(0, 2), 10), segment(text.subarray(4), 14)))).toEqual(
      text.subarray(0, 2),
    );
    expect(bytesOf(added(arrivals, segment(text.subarray(2, 4), 12)))).toEqual(text);
    const cut = added(new Arrivals(), segment(text, 10, { isCut: true }), segment(text, 99));
    expect(bytesOf(cut)).toEqual(text);
  });

  it("is of no connection that was accepted, also if another one has its address later", () => {
    const arrivals = new Arrivals();
    const first = added(arrivals, segment(Buffer.from("a"), 1));
    arrivals.accepted(sender, 2n);
    expect(arrivals.add(segment(Buffer.from("b"), 2))).toBeUndefined();
    const second = added(arrivals, segment(Buffer.from("c"), 1, { cookie: 3n }));
    expect(second).not.toBe(first);
    expect(bytesOf(second)).toEqual(Buffer.from("c"));
  });

  it("is of no other connection that had its address before", () => {
    const arrivals = new Arrivals();
    const begun = added(arrivals, segment(Buffer.from("a"), 1));
    expect(added(arrivals, segment(Buffer.from("b"), 2))).toBe(begun);
    const other = added(arrivals, segment(Buffer.from("x"), 9, { cookie: 3n }));
    expect([bytesOf(begun), bytesOf(other)]).toEqual([Buffer.from("ab"), Buffer.from("x")]);
  });

  it("is bounded, by connections and by segments", () => {
    const arrivals = new Arrivals();
    for (let port = 1; port <= MOST_CONNECTIONS + 50; port++)
      arrivals.add(segment(Buffer.of(1), 1, { sender: { ...sender, port }, cookie: BigInt(port) }));
    expect(arrivals.all).toHaveLength(MOST_CONNECTIONS);
    const many = Array.from({ length: 100 }, (_, at) => segment(Buffer.of(at), at));
    expect(bytesOf(added(new Arrivals(), ...many))).toHaveLength(MOST_SEGMENTS);
  });
});

describe("logins that are held", () => {
  it("are due one after the other, with all that came before them", () => {
    const logins = new HeldLogins(20_000);
    logins.add(3, 0);
    logins.add(5, 1000);
    expect([logins.due(19_999), logins.due(20_000), logins.isAny]).toEqual([0, 3, true]);
    expect([logins.due(21_000), logins.isAny, logins.due(99_000)]).toEqual([5, false, 5]);
  });

  it("are served once the server takes a connection from the queue", () => {
    const logins = new HeldLogins(20_000);
    expect([3, 3, 8, 7].map((came) => logins.isServed(came))).toEqual([false, false, false, true]);
  });
});
