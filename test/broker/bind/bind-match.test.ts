import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Candidate, isLoopback, matchBind } from "../../../src/broker/bind/bind-match.ts";
import { parseListenAddress } from "../../../src/net/address.ts";

const candidate = (text: string): Candidate => {
  const listen = parseListenAddress(text);
  if (typeof listen === "string") throw new Error(listen);
  return listen;
};

const match = (asked: string, held: readonly string[], v6only = false): string[] => {
  const candidates = held.map((text) => ({ text, ...candidate(text) }));
  return matchBind({ ...candidate(asked), v6only }, candidates).map(({ text }) => text);
};

describe("the held socket that a bind means", () => {
  test.each([
    // asked, held, what fits, best first
    ["udp://10.0.0.1:77", ["udp://10.0.0.1:77"], ["udp://10.0.0.1:77"]],
    ["udp://10.0.0.1:77", ["tcp://10.0.0.1:77", "udp://10.0.0.1:78", "udp://10.0.0.2:77"], []],
    ["udp://0.0.0.0:77", ["udp://10.0.0.1:77"], ["udp://10.0.0.1:77"]],
    ["udp://0.0.0.0:77", ["udp://10.0.0.1:77", "udp://0.0.0.0:77"], ["udp://0.0.0.0:77", "udp://10.0.0.1:77"]],
    ["udp://10.0.0.1:77", ["udp://0.0.0.0:77"], ["udp://0.0.0.0:77"]],
    ["udp://127.0.0.1:77", ["udp://0.0.0.0:77"], []],
    ["udp://[::1]:77", ["udp://*:77"], []],
    ["udp://[::]:77", ["udp://0.0.0.0:77"], []],
    ["udp://0.0.0.0:77", ["udp://*:77"], []],
    ["udp://[::]:77", ["udp://[::]:77", "udp://*:77"], ["udp://*:77", "udp://[::]:77"]],
    ["udp://[::ffff:10.0.0.1]:77", ["udp://*:77"], ["udp://*:77"]],
    ["udp://[::ffff:10.0.0.1]:77", ["udp://[::]:77"], []],
    ["udp://[::ffff:127.0.0.1]:77", ["udp://*:77"], []],
    ["udp://[::ffff:0:a00:1]:77", ["udp://[::]:77"], ["udp://[::]:77"]], // translated (RFC 2765), not mapped
    ["udp://[fe80::1%2]:77", ["udp://[fe80::1%3]:77"], []],
    ["unix:///run/a", ["unix:///run/a"], ["unix:///run/a"]],
    ["unix:///run/a", ["unix-dgram:///run/a", "unix://@/run/a", "unix:///run/b"], []],
    ["unix:///run/a", ["unix:///run/a", "unix:///run/a"], ["unix:///run/a", "unix:///run/a"]],
    ["unix:///run/a", ["tcp://0.0.0.0:77"], []],
    ["tcp://0.0.0.0:77", ["unix:///run/a"], []],
    ["udp://[::]:77", ["udp://[::1]:77", "udp://*:77"], ["udp://*:77", "udp://[::1]:77"]],
  ])("%s of %j is %j", (asked, held, fitting) => {
    expect(match(asked, held)).toEqual(fitting);
  });

  test("with IPV6_V6ONLY set, the socket that speaks IPv6 alone goes first", () => {
    expect(match("udp://[::]:77", ["udp://*:77", "udp://[::]:77"], true)).toEqual(["udp://[::]:77", "udp://*:77"]);
  });

  test.each([
    // A dual-stack socket for all is the better one of two that fit equally well, whatever else fits.
    ["udp://[::]:77", ["udp://[fd00::1]:77", "udp://[::1]:77"]],
    ["udp://[fd00::1]:77", ["udp://[::]:77", "udp://*:77"]],
  ])(
    "%s of %j: the one that takes IPv4 or not, as the server's own socket does, goes first",
    (asked, [first, second]) => {
      const request = { ...candidate(asked), v6only: false };
      const held = [
        { ...candidate(first ?? ""), dualStack: false },
        { ...candidate(second ?? ""), dualStack: true },
      ];
      expect(matchBind(request, held).map(({ dualStack }) => dualStack)).toEqual([true, false]);
      expect(matchBind({ ...request, v6only: true }, held).map(({ dualStack }) => dualStack)).toEqual([false, true]);
    },
  );

  const texts = fc
    .tuple(
      fc.constantFrom("tcp", "udp"),
      fc.constantFrom("0.0.0.0", "10.0.0.1", "127.0.0.1", "*", "[::]", "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]"),
      fc.constantFrom(77, 78),
    )
    .map(([scheme, host, port]) => `${scheme}://${host}:${port}`);

  test("never has another port, kind or family, and is always one of those held", () => {
    fc.assert(
      fc.property(texts, fc.array(texts), fc.boolean(), (asked, held, v6only) => {
        const request = candidate(asked);
        for (const text of match(asked, held, v6only)) {
          expect(held).toContain(text);
          const { kind, address } = candidate(text);
          expect([kind, address.family]).toEqual([request.kind, request.address.family]);
          expect(address).toHaveProperty("port", "port" in request.address ? request.address.port : undefined);
        }
      }),
    );
  });

  test("the very address, if it is held, comes before all others", () => {
    fc.assert(
      fc.property(texts, fc.array(texts), (asked, held) => {
        const { address } = candidate(asked);
        expect(candidate(match(asked, [...held, asked])[0] ?? "").address).toEqual(address);
      }),
    );
  });
});

test.each([
  ["tcp://127.255.0.1:1", true],
  ["tcp://128.0.0.1:1", false],
  ["tcp://[::1]:1", true],
  ["tcp://[::ffff:127.0.0.1]:1", true],
  ["tcp://[::ffff:0.127.0.1]:1", false],
  ["tcp://[::]:1", false],
  ["unix:///127.0.0.1", false],
])("%s reaches this host alone: %s", (text, loopback) => {
  expect(isLoopback(candidate(text).address)).toBe(loopback);
});
