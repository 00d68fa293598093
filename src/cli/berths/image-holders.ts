/** Which berths' servers run on a version of an image. The lock on disk only tells that the broker holds it. */
import { join, resolve } from "node:path";
import { BerthError } from "../../errors.ts";
import type { ImageRecord } from "../../rootfs/images/images.ts";
import type { BrokerChoice } from "../options.ts";
import { stateFolder } from "../state-folder.ts";
import { type BerthRecord, listBerths } from "./berth-records.ts";

/** Names of the berths with a root of this version. */
export function berthsOn(
  berths: readonly BerthRecord[],
  { name, version }: Pick<ImageRecord, "name" | "version">,
): string[] {
  // A root without a strategy is not built: its images are only configured.
  return berths
    .filter(({ root }) => root?.strategy && root.images.includes(`${name}@${version}`))
    .map((berth) => berth.name);
}

/** The berths of the broker that works on this folder of images. None if it does not answer or works on another one. */
export async function berthsOf(
  images: string,
  { state: _, ...choice }: BrokerChoice & { state?: string },
): Promise<readonly BerthRecord[]> {
  try {
    const folder = join(await stateFolder(choice), "images");
    return folder === resolve(images) ? await listBerths(choice) : [];
  } catch (error) {
    if (error instanceof BerthError) return [];
    throw error;
  }
}
