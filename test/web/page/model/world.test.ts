import { describe, expect, it } from "vitest";
import { NOTHING, withOverview, withPatch } from "../../../../packages/web/page/model/world.ts";
import { madeUpBerth, madeUpHost, overviewOf, threeBerths } from "../support/made-up.ts";

const nothing = { at: 2, hosts: [], berths: [], removed: [] };
const begun = withOverview(NOTHING, overviewOf(threeBerths("fsn-1")));

describe("a patch", () => {
  it("changes the fields that it names, and no other berth", () => {
    const after = withPatch(begun, { ...nothing, berths: [{ host: "fsn-1", name: "arena@bob", players: 31 }] });
    const [before, now] = [begun, after].map((world) => world.berths.get("fsn-1/arena@bob"));
    expect(now).toEqual({ ...before, players: 31 });
    expect(after.berths.get("fsn-1/mc@survival")).toBe(begun.berths.get("fsn-1/mc@survival"));
  });

  it("of numbers leaves the order, of a state does not", () => {
    const key = { host: "fsn-1", name: "arena@bob" };
    const revisionAfter = (change: object): number =>
      withPatch(begun, { ...nothing, berths: [{ ...key, ...change }] }).revision - begun.revision;
    expect(revisionAfter({ players: 1, memory: null })).toBe(0);
    expect(revisionAfter({ state: "failed" })).toBe(1);
    expect(revisionAfter({ outdated: { image: null, configuration: true } })).toBe(1);
  });

  it("adds a new berth, and takes one away", () => {
    const patch = {
      ...nothing,
      berths: [madeUpBerth("fsn-1", "arena@new")],
      removed: [{ host: "fsn-1", name: "mc@survival" }],
    };
    const after = withPatch(begun, patch);
    expect([...after.berths.keys()].sort()).toEqual(["fsn-1/arena@bob", "fsn-1/arena@new", "fsn-1/ttd@arctic"]);
    expect(after.revision).toBe(begun.revision + 1);
  });

  it("of a part of a berth that is not known is left out", () => {
    const after = withPatch(begun, { ...nothing, berths: [{ host: "fsn-1", name: "gone", players: 1 }] });
    expect(after.berths).toEqual(begun.berths);
  });

  it("of a host that answers no more changes the order", () => {
    const after = withPatch(begun, { ...nothing, hosts: [madeUpHost("fsn-1", { unreachableSince: 1 })] });
    expect(after.hosts.get("fsn-1")?.unreachableSince).toBe(1);
    expect(after.revision).toBe(begun.revision + 1);
  });
});

it("a second overview keeps rows that are the same, so that they are not drawn again", () => {
  const berths = [...begun.berths.values()].map((berth) =>
    berth.name === "arena@bob" ? { ...berth, players: 30 } : { ...berth },
  );
  const after = withOverview(begun, { at: 3, hosts: [...begun.hosts.values()], berths });
  expect(after.berths.get("fsn-1/mc@survival")).toBe(begun.berths.get("fsn-1/mc@survival"));
  expect(after.berths.get("fsn-1/arena@bob")?.players).toBe(30);
  expect(after.revision).toBe(begun.revision);
});
