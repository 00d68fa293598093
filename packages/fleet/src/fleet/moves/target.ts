/** Which berth is to move, and whether another host can have it. */
import { Fault } from "../../fault.ts";
import { keepsFiles } from "../../model/berth-file.ts";
import type { BerthSet } from "../../model/berth-set.ts";
import { isTable, type JsonObject } from "../../model/fields.ts";
import type { Placement } from "../../model/placement.ts";
import { type Decision, decide } from "../../placement/decide.ts";
import { explain } from "../../placement/explain.ts";
import { type Need, needOf } from "../../placement/need.ts";
import { type FleetView, hostViews, type Kept, numberOf } from "../view.ts";
import type { End } from "./file-copy.ts";

const CANNOT_TAKE =
  "cannot take its files: start its agent with --state-socket, --store and --store-listen, or use --without-files";

export interface Target {
  readonly set: Kept<BerthSet>;
  readonly need: Need;
  readonly decision: Extract<Decision, { kind: "place" }>;
}

/** Throws NO_SUCH_BERTH. */
export function placedIn(view: FleetView, berth: string): Kept<Placement> {
  const found = view.placements.get(berth);
  if (found !== undefined) return found;
  throw new Fault("NO_SUCH_BERTH", `there is no berth ${berth} on any host; to see all: berth-fleet ls`);
}

/** The root with the files that go with a berth; undefined: it has none. */
export function rootIn(view: FleetView, { set }: Placement): JsonObject | undefined {
  const { root } = view.sets.get(set)?.record.berth ?? {};
  return isTable(root) && keepsFiles({ root }) ? root : undefined;
}

/** A host that can take files. */
export function targetEnd(view: FleetView, host: string): End {
  const store = view.hosts.get(host)?.store;
  if (store !== undefined) return { host, store };
  throw new Fault("NO_FIT", `${host} ${CANNOT_TAKE}`);
}

/** Its host, from which its files go. Throws NO_FIT if that cannot be. */
export function sourceIn(view: FleetView, { berth, host }: Placement): End {
  const store = view.hosts.get(host)?.store;
  if (store !== undefined) return { host, store };
  throw new Fault(
    "NO_FIT",
    `${berth} has files on ${host}, whose agent cannot send them: start it with --state-socket, --store and ` +
      "--store-listen; to leave the files there: --without-files",
  );
}

/**
 * Where it goes. Without `to`: the best other host. `withFiles`: only to hosts that can take them. `withImages`: its
 * images go with it. Throws NO_FIT, with the reason for each host.
 */
export function targetIn(
  view: FleetView,
  placed: Placement,
  to: string | undefined,
  { withFiles, withImages }: { readonly withFiles: boolean; readonly withImages: boolean },
): Target {
  const { berth, set: name, host } = placed;
  const set = view.sets.get(name);
  if (set === undefined)
    throw new Fault("NOT_MOVED", `its set ${name} is gone; to end ${berth}: berth-fleet rm ${name}`);
  if (to === host) throw new Fault("NO_FIT", `${berth} is on ${to} already`);
  if (to !== undefined && !view.hosts.has(to))
    throw new Fault("NO_SUCH_HOST", `there is no host ${to}, or it is silent; to see all: berth-fleet ls hosts`);
  const need = needOf(set.record, numberOf(placed));
  const fleet = hostViews(view);
  const others = fleet.filter((one) => (to === undefined ? one.host.name !== host : one.host.name === to));
  const able = others.filter((one) => !withFiles || one.host.store !== undefined);
  const decision = decide(withImages ? withoutVersions(need) : need, able, fleet);
  if (decision.kind === "place") return { set, need, decision };
  const reasons = explain(decision).others.map((one) => `${one.host} ${one.why}`);
  for (const one of others) if (!able.includes(one)) reasons.push(`${one.host.name} ${CANNOT_TAKE}`);
  throw new Fault("NO_FIT", `no other host can have ${berth}: ${reasons.join("; ") || "there is none"}`);
}

/** Images that name a version go from host to host with the files. */
function withoutVersions(need: Need): Need {
  return { ...need, images: need.images.filter(({ version }) => version === undefined) };
}
