import { describe, expect, it } from "vitest";
import { layOut, type Section, type Wanted } from "../../../../packages/web/page/model/layout.ts";
import type { BerthRow } from "../../../../packages/web/src/api/shapes.ts";
import { madeUpBerth, thirtyBerths } from "../support/made-up.ts";

const all: Wanted = { filter: "", only: null, order: "trouble" };
const reachable = (): boolean => false;
const berth = (name: string, change: Partial<BerthRow> = {}): BerthRow => madeUpBerth("one", name, change);
const keys = (sections: readonly Section[]): readonly (readonly string[])[] => sections.map((section) => section.keys);

describe("groups", () => {
  it("come with what needs somebody first, and empty ones not at all", () => {
    const groups = layOut(thirtyBerths("one"), all, reachable).map((section) => [section.title, section.keys.length]);
    expect(groups).toEqual([
      ["Needs attention", 3],
      ["Changing now", 3],
      ["Serving", 19],
      ["Asleep", 4],
      ["Vacant", 1],
    ]);
  });

  it("have failures before problems, and of each the newest first", () => {
    const berths = [
      berth("a", { state: "problem", since: 9 }),
      berth("b", { state: "failed", since: 1 }),
      berth("c", { state: "failed", since: 5 }),
    ];
    expect(keys(layOut(berths, all, reachable))).toEqual([["one/c", "one/b", "one/a"]]);
  });

  it("have outdated berths before others that serve, and then names with their numbers in order", () => {
    const outdated = { image: null, configuration: true };
    const berths = [berth("a@10"), berth("a@9"), berth("z", { outdated })];
    expect(keys(layOut(berths, all, reachable))).toEqual([["one/z", "one/a@9", "one/a@10"]]);
  });

  it("keep berths of a host that does not answer apart, whatever their state was", () => {
    const berths = [berth("a", { state: "failed" }), madeUpBerth("two", "b")];
    const sections = layOut(berths, all, (host) => host === "one");
    expect(sections.map((section) => section.group)).toEqual(["unreachable", "serving"]);
  });
});

describe("the filter", () => {
  it("wants every word, anywhere, in any case", () => {
    const found = (filter: string): readonly string[] =>
      layOut(thirtyBerths("one"), { ...all, filter }, reachable).flatMap((section) => section.keys);
    expect(found("MINECRAFT failed")).toEqual(["one/mc@survival"]);
    expect(found("  outdated  ")).toEqual(["one/arena@red", "one/ddnet@kobra"]);
    expect(found("factorio@2.0.42")).toEqual(["one/factorio@lab"]);
    expect(found("minecraft zebra")).toEqual([]);
  });

  it("narrows to one group", () => {
    const sections = layOut(thirtyBerths("one"), { ...all, only: "asleep" }, reachable);
    expect(sections.map((section) => section.group)).toEqual(["asleep"]);
  });
});

describe("another order", () => {
  const berths = [
    berth("a", { players: 3, memory: null, since: 5 }),
    berth("b", { players: null, memory: { used: 2, limit: null }, since: null }),
    berth("c", { players: 9, memory: { used: 1, limit: null }, since: 1 }),
  ];
  it.each([
    ["name", ["one/a", "one/b", "one/c"]],
    ["players", ["one/c", "one/a", "one/b"]],
    ["memory", ["one/b", "one/c", "one/a"]],
    ["uptime", ["one/c", "one/a", "one/b"]],
  ] as const)("by %s has no groups, and puts what is not known last", (order, expected) => {
    expect(layOut(berths, { ...all, order }, reachable)).toEqual([
      { group: null, title: "", folds: false, keys: expected },
    ]);
  });
});
