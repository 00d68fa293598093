/** Which versions of its images a berth's next server gets. Changes only the current versions of images. */
import { join } from "node:path";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { IMAGE_RULE, parseReference } from "../../rootfs/images/image-name.ts";
import { Images } from "../../rootfs/images/images.ts";
import type { BerthRecord } from "../berths/berth-records.ts";
import type { BrokerChoice } from "../options.ts";
import { stateFolder } from "../state-folder.ts";

/** One version of an image. */
export interface ImageVersion {
  readonly name: string;
  readonly version: string;
}

/** Reads NAME@VERSION. Throws USAGE. */
export function readVersion(text: string): ImageVersion {
  const found = parseReference(text);
  if (found?.kind === "image" && found.version !== undefined) return { name: found.name, version: found.version };
  throw new BerthError("USAGE", `--image ${printable(text)} is not NAME@VERSION: ${IMAGE_RULE}`);
}

/** The images of the running broker. */
export async function brokersImages(choice: BrokerChoice): Promise<Images> {
  return new Images(join(await stateFolder(choice), "images"));
}

/** Whether the next server of this berth gets that version, now that it is the current one. */
export function getsVersion({ root, lease }: BerthRecord, { name, version }: ImageVersion): boolean {
  const images = root?.newer ?? root?.images ?? [];
  // Of a vacant berth it is what the configuration says.
  return images.includes(`${name}@${version}`) || (!lease && images.includes(name));
}

/** The versions that a running server has and the next one would not get. */
export function olderVersions({ root }: BerthRecord): readonly ImageVersion[] {
  const next = root?.newer ?? root?.images ?? [];
  return (root?.images ?? []).flatMap((image) => {
    const found = parseReference(image);
    if (next.includes(image) || found?.kind !== "image" || found.version === undefined) return [];
    return [{ name: found.name, version: found.version }];
  });
}
