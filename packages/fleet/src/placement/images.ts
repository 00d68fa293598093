/** Whether a host has an image, or can get it from another host. */
import type { HostImage } from "../model/host.ts";
import type { ImageFetch, ImageSource } from "../model/image-fetch.ts";
import type { HostView, NeededImage } from "./need.ts";

/** Why a host does not have an image, and cannot get it. */
export type ImageLack =
  /** Which version that is, each host decides. */
  | { readonly why: "no-version" }
  /** The set does not say which tree it is, so nobody can check what another host sends. */
  | { readonly why: "no-digest"; readonly offered: { readonly host: string; readonly digest: string } | undefined }
  /** Nor do the hosts that have it agree. One of them may be stolen, so nobody should take the digest of the first. */
  | { readonly why: "digests-differ"; readonly hosts: readonly [string, string] }
  /** It has another tree of this name and version. */
  | { readonly why: "other-digest"; readonly digest: string }
  | { readonly why: "no-store" }
  | { readonly why: "no-source" }
  | { readonly why: "no-room"; readonly size: number; readonly room: number };

export type ImageState =
  | { readonly is: "there" }
  | { readonly is: "fetched"; readonly fetch: ImageFetch }
  | { readonly is: "lacking"; readonly lack: ImageLack };

/** Further ones would only make the record longer. */
const MOST_SOURCES = 5;

/** `offers`: of the hosts that may have the image. */
export function imageOn(needed: NeededImage, { host }: HostView, offers: Offers): ImageState {
  const { name, version, digest } = needed;
  if (!needed.isSure && !host.listsImages) return { is: "there" };
  const same = host.images.filter((one) => isNamed(one, needed));
  if (same.some((one) => digest === undefined || one.digest === digest)) return { is: "there" };
  const lacking = (lack: ImageLack): ImageState => ({ is: "lacking", lack });
  if (version === undefined) return lacking({ why: "no-version" });
  const [other] = same;
  if (other !== undefined) return lacking({ why: "other-digest", digest: other.digest });
  const offered = offers.of(needed);
  if (digest === undefined) {
    const [first] = offered;
    const other = offered.find(({ image }) => image.digest !== first?.image.digest);
    if (first !== undefined && other !== undefined)
      return lacking({ why: "digests-differ", hosts: [first.source.host, other.source.host] });
    return lacking({ why: "no-digest", offered: first && { host: first.source.host, digest: first.image.digest } });
  }
  if (host.store === undefined || !host.listsImages) return lacking({ why: "no-store" });
  const right = offered.filter(({ image }) => image.digest === digest).slice(0, MOST_SOURCES);
  if (right.length === 0) return lacking({ why: "no-source" });
  // Equal trees have equal sizes. A host that says too much keeps nobody from fetching.
  const bytes = Math.min(...right.map(({ image }) => image.bytes ?? needed.size ?? 0));
  if (bytes > host.imageRoom) return lacking({ why: "no-room", size: bytes, room: host.imageRoom });
  return { is: "fetched", fetch: { name, version, digest, bytes, sources: right.map(({ source }) => source) } };
}

interface Offer {
  readonly source: ImageSource;
  readonly image: HostImage;
}

/** The hosts of a fleet that can send an image. The fleet is searched once for each image, not for each host. */
export class Offers {
  readonly #fleet: readonly HostView[];
  readonly #found = new Map<NeededImage, readonly Offer[]>();

  constructor(fleet: readonly HostView[]) {
    this.#fleet = fleet;
  }

  /** In the order of the hosts' names. */
  of(needed: NeededImage): readonly Offer[] {
    const found = this.#found.get(needed) ?? this.#find(needed);
    this.#found.set(needed, found);
    return found;
  }

  #find(needed: NeededImage): Offer[] {
    return this.#fleet
      .flatMap(({ host: { name: host, store, images } }) => {
        const image = images.find((one) => one.version !== undefined && isNamed(one, needed));
        return store === undefined || image === undefined ? [] : [{ source: { host, store }, image }];
      })
      .sort((one, other) => (one.source.host < other.source.host ? -1 : 1));
  }
}

function isNamed(one: HostImage, { name, version }: NeededImage): boolean {
  return one.name === name && (version === undefined || one.version === undefined || one.version === version);
}

/** `arena@2.1`. */
export function imageText({ name, version }: Pick<NeededImage, "name" | "version">): string {
  return version === undefined ? name : `${name}@${version}`;
}
