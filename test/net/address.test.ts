import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  canonicalIPv6,
  decodeSockaddr,
  encodeSockaddr,
  formatListenAddress,
  isUdp,
  type ListenAddress,
  mappedIPv4,
  parseListenAddress,
  UNIX_PATH_MAX,
} from "../../src/net/address.ts";

const port = fc.integer({ min: 0, max: 65535 });
const ipv4 = fc.record({ family: fc.constant("ipv4" as const), host: fc.ipV4(), port });
const ipv6 = fc.record({ family: fc.constant("ipv6" as const), host: fc.ipV6().map(canonicalIPv6), port });
const scoped = fc.record({
  family: fc.constant("ipv6" as const),
  host: fc.constant("fe80::1"),
  port,
  scope: fc.stringMatching(/^[a-z][a-z0-9.-]{0,14}$/),
});
const name = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 60 })
  .filter((text) => !text.includes("\0") && Buffer.byteLength(text) < UNIX_PATH_MAX);
const unix = fc.oneof(
  name.map((path) => ({ family: "unix" as const, path: `/${path}`, abstract: false })),
  name.map((path) => ({ family: "unix" as const, path, abstract: true })),
);
const listen: fc.Arbitrary<ListenAddress> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("stream" as const, "datagram" as const),
    address: fc.oneof(ipv4, ipv6, scoped),
    dualStack: fc.constant(false),
  }),
  fc.record({
    kind: fc.constantFrom("stream" as const, "datagram" as const),
    address: port.map((port) => ({ family: "ipv6" as const, host: "::", port })),
    dualStack: fc.constant(true),
  }),
  fc.record({
    kind: fc.constantFrom("stream" as const, "datagram" as const, "seqpacket" as const),
    address: unix,
    dualStack: fc.constant(false),
  }),
);

describe("parseListenAddress", () => {
  it("reads back what formatListenAddress writes", () => {
    fc.assert(
      fc.property(listen, (value) => {
        expect(parseListenAddress(formatListenAddress(value))).toEqual(value);
      }),
    );
  });

  it("gives a sentence for any other text, and never throws", () => {
    const scheme = fc.constantFrom(
      "",
      "tcp://",
      "udp://[",
      "udp://*:",
      "unix://",
      "unix-dgram://@",
      "unix-seqpacket:///",
    );
    const piece = fc.oneof(fc.string(), fc.constantFrom("::", "]:", ":80", "%", "fe80::1%", "1.2.3.4", "\0", "@"));
    const text = fc.tuple(scheme, fc.array(piece, { maxLength: 5 })).map(([head, tail]) => head + tail.join(""));
    fc.assert(
      fc.property(text, (written) => {
        const value = parseListenAddress(written);
        if (typeof value === "string") expect(value).toContain(written);
        else expect(parseListenAddress(formatListenAddress(value))).toEqual(value);
      }),
    );
  });

  it.each([
    ["http://1.2.3.4:5", /does not begin with/],
    ["1.2.3.4:5", /does not begin with/],
    ["toString://1.2.3.4:5", /does not begin with/],
    ["tcp://localhost:5", /names are not looked up/],
    ["tcp://1.2.3:5", /names are not looked up/],
    ["tcp://:5", /names are not looked up/],
    ["tcp://::1:5", /in brackets/],
    ["tcp://1.2.3.4", /ADDRESS:PORT/],
    ["tcp://1.2.3.4:65536", /port 65536 is above 65535/],
    ["udp://*:279600", /port 279600 is above 65535/],
    ["udp://*:000080", /ADDRESS:PORT/],
    ["tcp://[1.2.3.4]:5", /not an IPv6 address/],
    ["tcp://[fe80::1%]:5", /not the name of an interface/],
    ["tcp://[fe80::1%a%b]:5", /not the name of an interface/],
    ["tcp://[fe80::1%sixteen-letters-]:5", /not the name of an interface/],
    ["unix://run/a", /absolute path/],
    ["unix://", /no path/],
    ["unix://@", /no path/],
    ["unix:///a\0b", /NUL/],
    [`unix:///${"a".repeat(UNIX_PATH_MAX)}`, /108 bytes long/],
  ])("refuses %j", (text, sentence) => expect(parseListenAddress(text)).toMatch(sentence));
});

it.each([
  ["udp://127.0.0.1:1", true],
  ["udp://*:1", true],
  ["tcp://127.0.0.1:1", false],
  ["unix-dgram:///run/a", false],
])("whether %s is a UDP socket: %s", (text, is) => {
  const parsed = parseListenAddress(text);
  expect(typeof parsed !== "string" && isUdp(parsed)).toBe(is);
});

describe("encodeSockaddr", () => {
  it("writes what decodeSockaddr reads", () => {
    const address: fc.Arbitrary<Address> = fc.oneof(ipv4, ipv6, unix);
    fc.assert(
      fc.property(address, (value) => {
        expect(decodeSockaddr(encodeSockaddr(value))).toEqual(value);
      }),
    );
  });

  it("carries a scope's index", () => {
    const address = { family: "ipv6", host: "fe80::1", port: 1 } as const;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 0xffff_ffff }), (index) => {
        expect(decodeSockaddr(encodeSockaddr(address, index))).toEqual({ ...address, scope: String(index) });
      }),
    );
  });
});

describe("decodeSockaddr", () => {
  it("never throws on what is no address", () => {
    fc.assert(
      fc.property(fc.constantFrom(0, 1, 2, 10), fc.uint8Array({ maxLength: 120 }), (family, rest) => {
        expect(() => decodeSockaddr(Uint8Array.from([family, 0, ...rest]))).not.toThrow();
        expect(() => decodeSockaddr(rest)).not.toThrow();
      }),
    );
  });

  it("knows an unnamed socket, and one cut short, as nothing", () => {
    expect(decodeSockaddr(Uint8Array.of(1, 0))).toBeUndefined();
    expect(decodeSockaddr(encodeSockaddr({ family: "ipv6", host: "::1", port: 1 }).subarray(0, 20))).toBeUndefined();
  });
});

describe("mappedIPv4", () => {
  it("finds the IPv4 address in a mapped one, and none elsewhere", () => {
    fc.assert(
      fc.property(fc.ipV4(), (host) => {
        expect(mappedIPv4(canonicalIPv6(`::ffff:${host}`))).toBe(host);
      }),
    );
    expect(["::ffff:1", "::1", "1::ffff:1:2"].map((host) => mappedIPv4(canonicalIPv6(host)))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});
