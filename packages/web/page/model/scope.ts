/** Which berths a view is about: those of one host, or of all. Pure. */
import type { BerthRow, Host } from "../../src/api/shapes.ts";
import type { Route } from "./route.ts";
import type { World } from "./world.ts";

export type Scope = { readonly kind: "fleet" } | { readonly kind: "host"; readonly host: string };

/** The scope after going to `route`. A berth is shown above the list that it was opened from. */
export function scopeAfter(before: Scope | undefined, route: Route): Scope | undefined {
  switch (route.view) {
    case "fleet":
      return { kind: "fleet" };
    case "host":
      return { kind: "host", host: route.host };
    case "berth":
      return before?.kind === "fleet" ? before : { kind: "host", host: route.host };
    case "quiet":
      return route.host === null ? before : { kind: "host", host: route.host };
    case "home":
      return undefined;
    default:
      return route satisfies never;
  }
}

/** The host of a scope. Without one: the first host. */
export function hostOf(scope: Scope | undefined, world: World): Host | undefined {
  const named = scope?.kind === "host" ? world.hosts.get(scope.host) : undefined;
  return named ?? world.hosts.values().next().value;
}

/** The address to go back to from a berth. */
export function routeOf(scope: Scope | undefined, world: World): Route {
  if (scope?.kind === "fleet") return { view: "fleet" };
  const host = hostOf(scope, world);
  const isFirst = host === undefined || host === world.hosts.values().next().value;
  return isFirst ? { view: "home" } : { view: "host", host: host.id };
}

export function berthsOf(scope: Scope | undefined, world: World): readonly BerthRow[] {
  const all = [...world.berths.values()];
  if (scope?.kind === "fleet") return all;
  const host = hostOf(scope, world);
  return all.filter((berth) => berth.host === host?.id);
}
