/** Why a berth goes to a host and not to another, in sentences. */
import type { ImageFetch } from "../model/image-fetch.ts";
import type { Decision, Verdict } from "./decide.ts";
import type { Misfit } from "./filter.ts";
import { type ImageLack, imageText } from "./images.ts";
import { type Criterion, difference, type Score } from "./rank.ts";

export interface Explanation {
  /** Undefined: no host can have it. */
  readonly host: string | undefined;
  /** What it gets from other hosts first. Absent: nothing. */
  readonly fetches?: readonly string[];
  /** Why not each other host. */
  readonly others: readonly { readonly host: string; readonly why: string }[];
}

export function explain(decision: Decision): Explanation {
  const host = decision.kind === "place" ? decision.host : undefined;
  const chosen = decision.verdicts.find((verdict) => verdict.host === host);
  const ranks = chosen?.fits ? chosen.ranks : [];
  const fetches = decision.kind === "place" ? decision.fetches.map(fetchText) : [];
  const others = decision.verdicts.filter((verdict) => verdict.host !== host);
  return {
    host,
    ...(fetches.length > 0 && { fetches }),
    others: others.map((verdict) => ({ host: verdict.host, why: whyNot(verdict, host ?? "", ranks) })),
  };
}

function fetchText({ sources, bytes, ...image }: ImageFetch): string {
  const [first, second, ...more] = sources.map(({ host }) => host);
  const all = [first, ...(second === undefined ? [] : more.length > 0 ? [`${more.length + 1} more`] : [second])];
  const have = `${all.join(" and ")} ${all.length > 1 ? "have" : "has"}`;
  return `image ${imageText(image)} is not there, ${have} it: ${bytesText(bytes)} are fetched`;
}

function whyNot(verdict: Verdict, chosen: string, ranks: readonly Score[]): string {
  if (!verdict.fits) return verdict.misfits.map(misfitText).join("; ");
  const by = difference(ranks, verdict.ranks);
  if (by === undefined) return `fits as well; ${chosen} comes first by its name`;
  return `fits, but ${RANK_TEXT[by.criterion](by.other, by.one, chosen)}`;
}

/** What is worse here than on the chosen host. */
const RANK_TEXT: Readonly<Record<Criterion, (here: number, there: number, chosen: string) => string>> = {
  "berths-of-set": (here, there, chosen) => `has ${here} of the set's berths, and ${chosen} has ${there}`,
  "image-absent": (here, there, chosen) =>
    there === 0
      ? `does not have the image yet, and ${chosen} has it`
      : `lacks ${here} images, and ${chosen} only ${there}`,
  berths: (here, there, chosen) => `has ${here} berths, and ${chosen} has ${there}`,
  "fewer-berths": (here, there, chosen) => `has ${-here} berths, and ${chosen} has ${-there}`,
  "memory-left": (here, there, chosen) => `has ${bytesText(here)} left, and ${chosen} only ${bytesText(there)}`,
  "memory-used": (here, there, chosen) => `has only ${bytesText(-here)} left, and ${chosen} has ${bytesText(-there)}`,
};

export function misfitText(misfit: Misfit): string {
  switch (misfit.kind) {
    case "has-berth":
      return "has this berth already";
    case "cordoned":
      return "is closed to new berths; berth-fleet uncordon opens it";
    case "label":
      return misfit.has === undefined
        ? `has no label ${misfit.label}; ${misfit.wanted} is wanted`
        : `its label ${misfit.label} is ${misfit.has}; ${misfit.wanted} is wanted`;
    case "taint":
      return `has the taint ${misfit.taint}, which the set does not tolerate`;
    case "memory":
      return `has ${bytesText(Math.max(0, misfit.left))} left; ${bytesText(misfit.wanted)} are wanted`;
    case "port-taken":
      return `port ${misfit.port} is taken by ${misfit.by ?? "another program"}`;
    case "pool-empty":
      return misfit.wanted === 1
        ? "its pools have no free port"
        : `its pools have ${misfit.left} free ports; ${misfit.wanted} are wanted`;
    case "image":
      return `does not have image ${misfit.image}${lackText(misfit.image, misfit.lack)}`;
  }
  misfit satisfies never;
}

function lackText(image: string, lack: ImageLack): string {
  const [name] = image.split("@");
  switch (lack.why) {
    case "no-version":
      return `; to have it fetched, name its version in the set, as "${name}@1", and its digest`;
    case "no-digest":
      return lack.offered === undefined
        ? ", and no other host offers it"
        : `; to have it fetched, add to the set: image = { name = "${name}", digest = "${lack.offered.digest}" } ` +
            `(${lack.offered.host} has that)`;
    case "digests-differ":
      return (
        `; to have it fetched, add its digest to the set. ${lack.hosts.join(" and ")} have different trees of that ` +
        "name: take the digest that berth image import has printed"
      );
    case "other-digest":
      return ` with that digest: its own one is ${lack.digest}`;
    case "no-store":
      return ", and cannot fetch it: its agent needs --state-socket, --store and --store-listen";
    case "no-source":
      return ", and no other host offers one with that digest";
    case "no-room":
      return `, and has ${bytesText(lack.room)} for images; it needs ${bytesText(lack.size)}`;
  }
  lack satisfies never;
}

/** `512 MiB`, rounded down. */
function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let at = 0;
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024;
  return `${Math.floor(value * 10) / 10} ${units[at]}`;
}
