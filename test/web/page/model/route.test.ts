import { describe, expect, it } from "vitest";
import { hrefOf, parseRoute, type Route } from "../../../../packages/web/page/model/route.ts";
import { routeOf, scopeAfter } from "../../../../packages/web/page/model/scope.ts";
import { NOTHING, withOverview } from "../../../../packages/web/page/model/world.ts";
import { madeUpFleet } from "../support/made-up.ts";

describe("addresses", () => {
  const routes: readonly Route[] = [
    { view: "home" },
    { view: "fleet" },
    { view: "host", host: "fsn-1" },
    { view: "berth", host: "fsn-1", name: "arena@bob" },
    { view: "berth", host: "fsn-1", name: "a/b #?%" },
    { view: "quiet", host: null, name: null },
    { view: "quiet", host: "fsn-1", name: "arena@bob" },
  ];
  it.each(routes)("lead back to their view: $view $host $name", (route) => {
    expect(parseRoute(hrefOf(route))).toEqual(route);
  });

  it("are read in the address bar", () => {
    expect(hrefOf({ view: "berth", host: "fsn-1", name: "arena@bob" })).toBe("#/b/fsn-1/arena@bob");
  });

  it("that nobody made are the home view, also with a broken escape", () => {
    for (const hash of ["", "#/", "#/nonsense", "#/b/only-a-host", "#/%zz"]) {
      expect(parseRoute(hash)).toEqual({ view: "home" });
    }
  });

  it("of a place within the page are no view, so the skip link closes nothing", () => {
    expect(parseRoute("#main")).toBeUndefined();
  });
});

describe("going back from a berth", () => {
  const world = withOverview(NOTHING, madeUpFleet());
  const from = (first: Route): Route => {
    const berth: Route = { view: "berth", host: "hel-1", name: "ddnet@east" };
    return routeOf(scopeAfter(scopeAfter(undefined, first), berth), world);
  };
  it("leads to the fleet it was opened from", () => expect(from({ view: "fleet" })).toEqual({ view: "fleet" }));
  it("leads else to its host", () => expect(from({ view: "home" })).toEqual({ view: "host", host: "hel-1" }));
});
