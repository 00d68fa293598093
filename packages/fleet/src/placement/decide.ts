/** Which host gets a berth. The same need and the same hosts, in whatever order, give the same decision. */
import type { ImageFetch } from "../model/image-fetch.ts";
import { type Fit, fit } from "./filter.ts";
import { Offers } from "./images.ts";
import type { HostView, Need } from "./need.ts";
import { difference, rank, type Score } from "./rank.ts";

/** Whether one host can have the berth, and why not or how well. */
export type Verdict = { readonly host: string } & (
  | { readonly fits: true; readonly ranks: readonly Score[]; readonly fetches: readonly ImageFetch[] }
  | Extract<Fit, { fits: false }>
);

export type Decision =
  | {
      readonly kind: "place";
      readonly host: string;
      /** The ports that were drawn, by socket. */
      readonly ports: Readonly<Record<string, number>>;
      /** Images that the host gets from other hosts first. */
      readonly fetches: readonly ImageFetch[];
      /** Of all hosts, by their names. */
      readonly verdicts: readonly Verdict[];
    }
  | { readonly kind: "refuse"; readonly verdicts: readonly Verdict[] };

type Placed = Omit<Extract<Decision, { kind: "place" }>, "kind" | "verdicts">;

/**
 * Decides for one berth. Hosts that are equal in all that counts: the one whose name comes first. `fleet`: the hosts
 * that may have images, where not all of them may have the berth.
 */
export function decide(need: Need, hosts: readonly HostView[], fleet: readonly HostView[] = hosts): Decision {
  const offers = new Offers(fleet);
  const verdicts: Verdict[] = [];
  let best: (Placed & { readonly ranks: readonly Score[] }) | undefined;
  for (const view of [...hosts].sort((one, other) => (one.host.name < other.host.name ? -1 : 1))) {
    const host = view.host.name;
    const fitting = fit(need, view, offers);
    if (!fitting.fits) {
      verdicts.push({ host, ...fitting });
      continue;
    }
    const { ports, fetches } = fitting;
    const ranks = rank(need, view, fetches.length);
    verdicts.push({ host, fits: true, ranks, fetches });
    const against = best && difference(ranks, best.ranks);
    if (best === undefined || (against !== undefined && against.one < against.other))
      best = { host, ports, fetches, ranks };
  }
  if (best === undefined) return { kind: "refuse", verdicts };
  const { ranks: _, ...placed } = best;
  return { kind: "place", ...placed, verdicts };
}
