/** An image that a host gets from another one before it starts a berth. */
import { Fields, list, type Reader } from "./fields.ts";
import { type ImageTree, imageTree, storeAddress } from "./host.ts";
import { hostName } from "./names.ts";

/** A host that has the image, and ADDRESS:PORT of its store. */
export interface ImageSource {
  readonly host: string;
  readonly store: string;
}

/** Its digest is the one that the set names. An image with another digest is refused. */
export interface ImageFetch extends ImageTree {
  /** Those that had it when the berth was placed. */
  readonly sources: readonly ImageSource[];
}

export const imageFetch: Reader<ImageFetch> = (value, at) => ({
  ...imageTree(value, at),
  sources: new Fields(value, at).get("sources", list(imageSource)),
});

const imageSource: Reader<ImageSource> = (value, at) => {
  const fields = new Fields(value, at);
  return { host: fields.get("host", hostName), store: fields.get("store", storeAddress) };
};
