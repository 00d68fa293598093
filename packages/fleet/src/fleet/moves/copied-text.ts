/** What a copy is about, for people. Pure. */
import { imagesOfRoot } from "../../model/berth-file.ts";
import type { ImageVersion } from "../../model/copy.ts";
import type { JsonObject } from "../../model/fields.ts";

/** What was sent from one host to the other, in bytes. */
export interface Sent {
  /** The berth's files, as one archive. */
  readonly archive: number;
  /** While the server ran. */
  readonly before: number;
  /** After it had ended. */
  readonly after: number;
  /** Of images. */
  readonly images: number;
}

/** The images of a root that name a version. Which version the others mean is up to each host. */
export function imagesOf(root: JsonObject): ImageVersion[] {
  return imagesOfRoot(root).flatMap(({ name, version }) => (version === undefined ? [] : [{ name, version }]));
}

/** `1.3 MB`: in powers of 1,000, as networks are measured. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), 4);
  return `${(bytes / 1000 ** power).toFixed(1)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

export function sentText({ archive, before, after }: Pick<Sent, "archive" | "before" | "after">): string {
  const early = `${bytesText(before)} sent while the server ran`;
  return `its files, ${bytesText(archive)}: ${early}, ${bytesText(after)} after it had ended`;
}
