import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { unitOfCgroup } from "../../../src/broker/access/peer.ts";
import { isNamed, isPrivileged, matchesGlob } from "../../../src/broker/access/policy.ts";

describe("the unit of a process is the one systemd made, not one its own processes named", () => {
  it.each([
    ["0::/system.slice/arena@bob.service\n", "arena@bob.service"],
    ["0::/system.slice/system-arena.slice/arena@bob.service\n", "arena@bob.service"],
    ["0::/system.slice/arena.service/sub/other.service\n", "arena.service"],
    ["0::/user.slice/user-1000.slice/user@1000.service/app.slice/arena.service\n", "user@1000.service"],
    ["0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"],
    ["0::/machine.slice/a.scope/payload/system.slice/arena.service\n", "a.scope"],
    ["0::/system.slice/_cgroup.service\n", "cgroup.service"],
    ["12:cpu:/x\n1:name=systemd:/system.slice/arena.service\n0::/\n", "arena.service"],
    ["9:name=systemd:/..\n0::/berths.slice/berth@arena.service\n", "berth@arena.service"],
    ["0::/system.slice/a:b.service\n", "a:b.service"],
    ["0::/evil/system.slice/arena.service\n", undefined],
    ["0::/../../arena.service\n", undefined],
    ["0::/system.slice/arena.service (deleted)\n", undefined],
    ["0::/system.slice/.service\n", undefined],
    ["0::/init.scope/arena.service\n", "init.scope"],
    ["0::/\n", undefined],
    ["", undefined],
    ["3:cpu:/system.slice/arena.service\n", undefined],
  ])("%j is in %s", (cgroup, unit) => {
    expect(unitOfCgroup(cgroup)).toBe(unit);
  });
});

describe("matching a unit against a glob", () => {
  it("agrees with a regular expression made of the pattern", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "@", ".", "*", "?", "[", "\\") });
    fc.assert(
      fc.property(letters, letters, (text, pattern) => {
        const source = pattern
          .replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
          .replaceAll("\\*", ".*")
          .replaceAll("\\?", ".");
        expect(matchesGlob(text, pattern)).toBe(new RegExp(`^${source}$`, "s").test(text));
      }),
      { numRuns: 2000 },
    );
  });

  it("takes no longer than the product of the lengths, whatever the pattern", () => {
    // The processor's time, in microseconds: the clock's is other programs' too.
    const before = process.cpuUsage();
    expect(matchesGlob("a".repeat(5000), `${"a*".repeat(500)}b`)).toBe(false);
    expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
  });
});

describe("who may take a berth", () => {
  const none = { uids: [], gids: [], units: [] };
  const peer = { uid: 1000, groups: [1000, 44], unit: "arena@bob.service" };

  it("is a process that matches a uid, any of its groups, or its unit; none by default", () => {
    expect(isNamed(none, peer)).toBe(false);
    expect(isNamed({ ...none, uids: [1000] }, peer)).toBe(true);
    expect(isNamed({ ...none, uids: [44] }, peer)).toBe(false);
    expect(isNamed({ ...none, gids: [44] }, peer)).toBe(true);
    expect(isNamed({ ...none, units: ["arena@*.service"] }, peer)).toBe(true);
    expect(isNamed({ ...none, units: ["*"] }, { ...peer, unit: undefined })).toBe(false);
  });

  it("takes any one of several units, and looks up groups and unit only for a berth that names some", () => {
    expect(isNamed({ ...none, units: ["x.service", "arena@*.service"] }, peer)).toBe(true);
    const lazy = {
      uid: 1000,
      get groups(): number[] {
        throw new Error("the groups were looked up");
      },
      get unit(): string {
        throw new Error("the unit was looked up");
      },
    };
    expect(isNamed(none, lazy)).toBe(false);
    expect(isNamed({ ...none, uids: [1000] }, lazy)).toBe(true);
    expect(() => isNamed({ ...none, gids: [44] }, lazy)).toThrow("the groups were looked up");
    expect(() => isNamed({ ...none, units: ["*"] }, lazy)).toThrow("the unit was looked up");
  });

  it("root and the broker's own user are privileged, and nobody else is", () => {
    expect([isPrivileged(0, 5), isPrivileged(5, 5), isPrivileged(6, 5)]).toEqual([true, true, false]);
  });
});
