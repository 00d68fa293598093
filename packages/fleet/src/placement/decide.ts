/** Which host gets a berth. The same need and the same hosts, in whatever order, give the same decision. */
import { type Fit, fit } from "./filter.ts";
import type { HostView, Need } from "./need.ts";
import { difference, rank, type Score } from "./rank.ts";

/** Whether one host can have the berth, and why not or how well. */
export type Verdict = { readonly host: string } & (
  | { readonly fits: true; readonly ranks: readonly Score[] }
  | Extract<Fit, { fits: false }>
);

export type Decision =
  | {
      readonly kind: "place";
      readonly host: string;
      /** The ports that were drawn, by socket. */
      readonly ports: Readonly<Record<string, number>>;
      /** Of all hosts, by their names. */
      readonly verdicts: readonly Verdict[];
    }
  | { readonly kind: "refuse"; readonly verdicts: readonly Verdict[] };

/** Decides for one berth. Hosts that are equal in all that counts: the one whose name comes first. */
export function decide(need: Need, hosts: readonly HostView[]): Decision {
  const verdicts: Verdict[] = [];
  let best: { host: string; ports: Readonly<Record<string, number>>; ranks: readonly Score[] } | undefined;
  for (const view of [...hosts].sort((one, other) => (one.host.name < other.host.name ? -1 : 1))) {
    const host = view.host.name;
    const fitting = fit(need, view);
    if (!fitting.fits) {
      verdicts.push({ host, ...fitting });
      continue;
    }
    const ranks = rank(need, view);
    verdicts.push({ host, fits: true, ranks });
    const against = best && difference(ranks, best.ranks);
    if (best === undefined || (against !== undefined && against.one < against.other))
      best = { host, ports: fitting.ports, ranks };
  }
  if (best === undefined) return { kind: "refuse", verdicts };
  return { kind: "place", host: best.host, ports: best.ports, verdicts };
}
