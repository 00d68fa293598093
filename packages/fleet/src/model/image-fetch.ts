/** An image that a host gets from another one before it starts a berth. */
import { Fields, list, type Reader } from "./fields.ts";
import { bytes, storeAddress } from "./host.ts";
import { digest, hostName, imageName, imageVersionName } from "./names.ts";

/** A host that has the image, and ADDRESS:PORT of its store. */
export interface ImageSource {
  readonly host: string;
  readonly store: string;
}

export interface ImageFetch {
  readonly name: string;
  readonly version: string;
  /** Of its tree, as the set names it. An image with another one is refused. */
  readonly digest: string;
  /** Of its files. */
  readonly bytes: number;
  /** Those that had it when the berth was placed. */
  readonly sources: readonly ImageSource[];
}

export const imageFetch: Reader<ImageFetch> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    name: fields.get("name", imageName),
    version: fields.get("version", imageVersionName),
    digest: fields.get("digest", digest),
    bytes: fields.get("bytes", bytes),
    sources: fields.get("sources", list(imageSource)),
  };
};

const imageSource: Reader<ImageSource> = (value, at) => {
  const fields = new Fields(value, at);
  return { host: fields.get("host", hostName), store: fields.get("store", storeAddress) };
};
