/** The parts of the doorman's process: its messages, who may wake a server, and the codecs as it sees them. */
import fc from "fast-check";
import { describe, expect, expectTypeOf, it } from "vitest";
import * as codecs from "../../packages/doorman/src/index.ts";
import type { Codecs } from "../../src/doorman/interfaces/codecs.ts";
import {
  decodeOrder,
  decodeReport,
  encodeOrder,
  encodeReport,
  type Order,
  type Report,
} from "../../src/doorman/interfaces/messages.ts";
import { Admission, MOST_WAKES, WakeLimit } from "../../src/doorman/senders/admission.ts";
import { MOST_IN_ALL, MOST_OF_NETWORK as MOST_QUERIES, QueryLimit } from "../../src/doorman/senders/query-limit.ts";
import { type Sender, senderOf } from "../../src/doorman/senders/sender.ts";
import { encodeSockaddr } from "../../src/net/address.ts";

it("the package berthd-doorman is what the process expects", () => {
  const seen: Codecs = codecs;
  expectTypeOf(codecs).toExtend<Codecs>();
  expect(Object.keys(seen.datagramProtocols).sort()).toEqual(["a2s", "bedrock", "quake3", "teeworlds"]);
});

describe("the limit of queries", () => {
  const from = (host: string, port: number): Uint8Array => {
    const bytes = Buffer.alloc(28);
    encodeSockaddr({ family: host.includes(":") ? "ipv6" : "ipv4", host, port }).copy(bytes);
    return bytes;
  };

  it("is one of a network on a socket, for a second, whatever its ports and addresses", () => {
    const limit = new QueryLimit();
    const ask = (host: string, socket: number, now: number): number =>
      Array.from({ length: 200 }, (_, n) => limit.allows(socket, from(host, n), now)).filter(Boolean).length;
    expect(ask("192.0.2.1", 5, 10_000)).toBe(MOST_QUERIES);
    expect(ask("192.0.2.200", 5, 10_000)).toBe(0);
    expect(ask("::ffff:192.0.2.3", 5, 10_000)).toBe(0);
    expect(ask("192.0.3.1", 5, 10_000)).toBe(MOST_QUERIES);
    expect(ask("2001:db8::1", 5, 10_000)).toBe(MOST_QUERIES);
    expect(ask("2001:db8::ffff:1", 5, 10_000)).toBe(0);
    expect(ask("2001:db8:0:1::1", 5, 10_000)).toBe(MOST_QUERIES);
    expect(ask("192.0.2.1", 6, 10_000)).toBe(MOST_QUERIES);
    expect(ask("192.0.2.1", 5, 10_999)).toBe(0);
    expect(ask("192.0.2.1", 5, 11_000)).toBe(MOST_QUERIES);
  });

  it("is one of all networks together, so that forged addresses cost no more, nor any memory", () => {
    const limit = new QueryLimit();
    let answered = 0;
    for (let n = 0; n < 20_000; n++) {
      const host = `10.${n >> 8}.${n & 255}.1`;
      if (limit.allows(5, from(host, 1), 10_000)) answered++;
    }
    expect(answered).toBe(MOST_IN_ALL);
    expect(limit.allows(5, from("192.0.2.1", 1), 11_000)).toBe(true);
  });
});

describe("messages", () => {
  it("are read as they were written", () => {
    const number = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    const reports: fc.Arbitrary<Report> = fc.oneof(
      fc.constant({ report: "ready" as const }),
      fc.record({ report: fc.constant("wake" as const), watch: number, index: number }),
      fc.record({ report: fc.constant("dropped" as const), number }),
      fc.record({ report: fc.constant("served" as const), watch: number }),
      fc.record({
        report: fc.constant("players" as const),
        ask: number,
        players: fc.option(fc.nat(1_000_000), { nil: undefined }),
      }),
    );
    fc.assert(
      fc.property(reports, (report) => {
        expect(decodeReport(encodeReport(report))).toEqual(report);
      }),
    );
    const order: Order = {
      ...{ watch: 7, asleep: "minecraft", wake: "known-address", networks: ["::/0"], refusal: "no", discardAfter: 5 },
      ...{ kinds: ["datagram", "stream"], server: { name: "a", map: "b", slots: 3 } },
    };
    expect(decodeOrder(encodeOrder(order))).toEqual(order);
    expect(decodeOrder(encodeOrder({ drop: [7, 8], number: 3 }))).toEqual({ drop: [7, 8], number: 3 });
  });

  it("of other bytes are none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
        const report = decodeReport(bytes);
        if (bytes.length !== 12 || (bytes[0] ?? 0) > 3) expect(report).toBeUndefined();
      }),
    );
  });
});

describe("who may wake a server", () => {
  const from = (host: string): Sender => ({ host, family: host.includes(":") ? "ipv6" : "ipv4", port: 1, length: 16 });
  const { networkOf } = codecs;

  it("are the addresses of the known networks, where only those may", () => {
    const networks = ["192.0.2.0/24", "2001:db8::/32"];
    const admission = new Admission({ wake: "known-address", networks, limit: new WakeLimit(), networkOf });
    const hosts = ["192.0.2.9", "192.0.3.9", "2001:db8::1", "2001:db9::1"];
    expect(hosts.map((host) => admission.admits(from(host)))).toEqual([true, false, true, false]);
    expect(admission.admits(undefined)).toBe(true);
  });

  it("is anybody otherwise, but one network only so often a minute", () => {
    const limit = new WakeLimit();
    const all = Array.from({ length: MOST_WAKES + 2 }, (_, at) => limit.allows("a", at));
    expect(all.filter(Boolean).length).toBe(MOST_WAKES);
    expect([limit.allows("b", 0), limit.allows("a", 59_999), limit.allows("a", 60_000)]).toEqual([true, false, true]);
    const admission = new Admission({ wake: "join", networks: [], limit: new WakeLimit(), networkOf });
    const admitted = Array.from({ length: 10 }, (_, at) => admission.admits(from(`192.0.2.${at}`)));
    expect(admitted.filter(Boolean).length).toBe(MOST_WAKES);
  });
});

it("the sender of a packet is shown by its IPv4 address, also where it is mapped", () => {
  const of = (family: "ipv4" | "ipv6", host: string) => senderOf(encodeSockaddr({ family, host, port: 5 }));
  expect(of("ipv4", "192.0.2.1")).toEqual({ host: "192.0.2.1", family: "ipv4", port: 5, length: 16 });
  expect(of("ipv6", "::ffff:192.0.2.1")).toEqual({ host: "192.0.2.1", family: "ipv4", port: 5, length: 28 });
  expect(of("ipv6", "2001:db8::1")).toEqual({ host: "2001:db8::1", family: "ipv6", port: 5, length: 28 });
});
