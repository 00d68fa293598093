/** Sends the agent a version of an image, and imports one that it sends. The tree is checked by its digest. */
import { join } from "node:path";
import { Images } from "../../rootfs/images/images.ts";
import { exportVersion, importVersion } from "../../rootfs/images/transfer.ts";
import type { ImageRequest } from "./request.ts";
import type { Work } from "./work.ts";

/** The bytes of the archive. Throws IMAGE_ABSENT, before it has sent anything. */
export async function exportImage({ image: name, version }: ImageRequest, work: Work): Promise<number> {
  const { connection, state, signal } = work;
  const images = new Images(join(state, "images"));
  await exportVersion(images, { name, version }, (bytes) => connection.send(bytes), signal);
  return connection.sent;
}

/** The bytes that came. Throws IMAGE_IN_USE if the version is there, IMPORT_FAILED. Then nothing has changed. */
export async function importImage({ image: name, version }: ImageRequest, work: Work): Promise<number> {
  const { connection, state, signal } = work;
  await importVersion(new Images(join(state, "images")), { name, version }, connection.frames(), signal);
  return connection.received;
}
