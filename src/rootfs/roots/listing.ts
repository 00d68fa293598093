/** Tells whether names, owners or modes in an image have changed, which a metacopy layer has stored. */
import { createHash } from "node:crypto";
import type { Native } from "../../native.ts";
import { filesOf, openTree } from "../disk/open-tree.ts";
import type { Pause } from "../disk/pause.ts";
import type { ImageTree } from "../images/image-source.ts";

/** A digest of the files in the images that are named by their paths. It reads no contents. Throws SYSTEM_ERROR. */
export async function listingOf(images: readonly ImageTree[], sys: Native, pause: Pause): Promise<string> {
  const hash = createHash("sha256");
  for (const { tree } of images.filter(({ version }) => version === undefined)) {
    using opened = openTree(tree, sys);
    for await (const { path, stat } of filesOf(opened, sys, pause)) {
      const { dev, ino, mode, uid, gid, ctimeNs } = stat;
      hash.update(`${path.toString("hex")} ${[dev, ino, mode, uid, gid, ctimeNs].join(":")}\n`);
    }
  }
  return hash.digest("hex");
}
