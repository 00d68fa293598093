/** Lists images, sends the agent a version, and imports one that it sends. The tree is checked by its digest. */
import { existsSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { system } from "../../rootfs/disk/durable.ts";
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

/** JSON: the folder of images, the bytes that are free there, and every version. Throws STATE_DAMAGED. */
export async function listImages({ connection, state }: Work): Promise<number> {
  const all = new Images(join(state, "images"));
  const { folder } = all;
  const place = existsSync(folder) ? folder : state;
  const { bavail, bsize } = system(place, () => statfsSync(place));
  const images = all.list().map(({ name, version, digest, bytes }) => ({ name, version, digest, bytes }));
  await connection.send(Buffer.from(JSON.stringify({ folder, room: bavail * bsize, images })));
  return connection.sent;
}

/**
 * The bytes that came. Throws IMAGE_IN_USE if the version is there, IMPORT_FAILED also if the tree is another one than
 * the agent wants, or larger, and CONNECTION_CLOSED if the agent goes. Then nothing has changed.
 */
export async function importImage({ image: name, version, digest }: ImageRequest, work: Work): Promise<number> {
  const { connection, state, maxBytes } = work;
  const wanted = { name, version, digest, maxBytes };
  // To compute the digest takes long, and reads nothing from the agent.
  await connection.whileThere((signal) =>
    importVersion(new Images(join(state, "images")), wanted, connection.frames(), signal),
  );
  return connection.received;
}
