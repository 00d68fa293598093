import { describe, expect, it } from "vitest";
import { findConflicts } from "../../src/config/conflicts.ts";
import type { BerthSpec } from "../../src/config/keys/spec.ts";
import { findRangeConflicts } from "../../src/config/range-conflicts.ts";
import { parseListenAddress } from "../../src/net/address.ts";
import { load } from "./fixture.ts";

type Draft = Pick<BerthSpec, "name" | "sockets">;

/** A berth with one socket; `options` as the last word of "udp://… device=eth0 reuse dual". */
function draft(name: string, line: number, text: string): Draft {
  const [address = "", ...words] = text.split(" ");
  const listen = parseListenAddress(address);
  if (typeof listen === "string") throw new Error(listen);
  const device = words.find((word) => word.startsWith("device="))?.slice(7);
  const options = {
    backlog: 1,
    mode: 0,
    v6only: !words.includes("dual"),
    reusePort: words.includes("reuse"),
    ...(device === undefined ? {} : { device }),
  };
  return { name, sockets: [{ name: "s", listen: [{ ...listen, origin: { file: "f", line } }], options }] };
}

const conflicts = (...texts: string[]): number => {
  const drafts = texts.map((text, index) => draft(`b${index}`, index + 1, text));
  return findConflicts(drafts).length;
};

describe("findConflicts", () => {
  // Each was tried on a kernel: EADDRINUSE, or not.
  it.each([
    ["tcp://127.0.0.1:5", "tcp://127.0.0.1:5"],
    ["udp://0.0.0.0:5", "udp://127.0.0.1:5"],
    ["udp://*:5", "udp://127.0.0.1:5"],
    ["udp://*:5", "udp://[::1]:5"],
    ["udp://[::]:5 dual", "udp://0.0.0.0:5"],
    ["udp://[::]:5", "udp://[::1]:5"],
    ["udp://[0::1]:5", "udp://[::1]:5"],
    ["udp://[::ffff:127.0.0.1]:5 dual", "udp://127.0.0.1:5"],
    ["udp://[::ffff:127.0.0.1]:5 dual", "udp://*:5"],
    ["udp://0.0.0.0:5 reuse", "udp://0.0.0.0:5"],
    ["udp://0.0.0.0:5 device=lo", "udp://0.0.0.0:5"],
    ["udp://0.0.0.0:5 device=lo", "udp://127.0.0.1:5 device=lo"],
    ["udp://[fe80::1%a]:5", "udp://[fe80::1%a]:5"],
    ["unix:///run/a", "unix-dgram:///run//x/../a"],
    ["unix://@a", "unix://@a"],
  ])("%s excludes %s", (a, b) => {
    expect(conflicts(a, b)).toBe(1);
    expect(conflicts(b, a)).toBe(1);
  });

  it.each([
    ["tcp://127.0.0.1:5", "udp://127.0.0.1:5"],
    ["tcp://127.0.0.1:5", "tcp://127.0.0.1:6"],
    ["tcp://127.0.0.1:5", "tcp://127.0.0.2:5"],
    ["udp://[::]:5", "udp://0.0.0.0:5"],
    ["udp://[::1]:5 dual", "udp://0.0.0.0:5"],
    ["udp://[::ffff:127.0.0.1]:5 dual", "udp://[::]:5"],
    ["udp://0.0.0.0:5 reuse", "udp://127.0.0.1:5 reuse"],
    ["udp://0.0.0.0:5 device=lo", "udp://0.0.0.0:5 device=eth0"],
    ["udp://[fe80::1%a]:5", "udp://[fe80::1%b]:5"],
    ["tcp://*:0", "tcp://*:0"],
    ["unix:///run/a", "unix:///run/b"],
    ["unix://@a", "unix-dgram://@a"],
    ["unix:///a", "unix://@/a"],
  ])("%s leaves room for %s", (a, b) => {
    expect(conflicts(a, b)).toBe(0);
    expect(conflicts(b, a)).toBe(0);
  });

  it("reports each pair once; of many equal addresses each against the first", () => {
    expect(conflicts("udp://127.0.0.1:5", "udp://127.0.0.2:5", "udp://*:5")).toBe(2);
    expect(conflicts(...Array.from({ length: 100 }, () => "udp://*:5"))).toBe(99);
    expect(conflicts("udp://*:5", "udp://*:5", "udp://127.0.0.1:5")).toBe(2);
    expect(conflicts("udp://127.0.0.1:5", "udp://127.0.0.2:5", "udp://*:5", "udp://*:5")).toBe(3);
    expect(conflicts("udp://*:5", "udp://*:5 reuse", "udp://127.0.0.1:5")).toBe(3);
  });

  it("reports no more than 16 for one address", () => {
    const hosts = Array.from({ length: 20 }, (_, index) => `udp://127.0.0.${index + 1}:5`);
    expect(conflicts(...hosts, "udp://*:5")).toBe(16);
  });

  it("lets a berth with two addresses keep both, and the next one gives way", () => {
    const [one, two] = [draft("a", 1, "udp://*:5"), draft("a", 2, "udp://*:6")];
    const both = { name: "a", sockets: [...one.sockets, ...two.sockets] };
    expect(findConflicts([both, draft("b", 3, "udp://*:5")]).map(({ berth }) => berth)).toEqual(["b"]);
  });

  it("says of a path that another one helps", () => {
    const pair = [draft("a", 1, "unix:///run/a"), draft("b", 2, "unix:///run/a")];
    expect(findConflicts(pair).map(({ problem }) => problem.remedy)).toEqual(["give one of them another path or name"]);
  });

  it("of ranges, finds none between berths without a range", () => {
    const file = { file: "f", line: 1 };
    const names = ["a", "b"].map((name) => ({ name, origin: file }));
    expect(findRangeConflicts(names, () => false)).toEqual([]);
  });

  it("names both places, inside one berth too", () => {
    const { problems } = load({ "etc/a.toml": '[sockets.x]\nlisten = [\n"udp://*:5",\n"udp://[::1]:5",\n]\n[bad]\n' });
    expect(problems).toEqual([
      "etc/a.toml:4: udp://[::1]:5 of a (socket x) conflicts with udp://*:5 of a (socket x), etc/a.toml:3 | " +
        "give one of them another port or address, or set reuse-port = true on both to share it",
      expect.stringContaining("etc/a.toml:6: there is no section"),
    ]);
  });
});
