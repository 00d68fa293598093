/** How an agent asks another one for an image. The digest is what it must have been told: nobody can guess it. */

export interface ImageName {
  readonly name: string;
  readonly version: string;
  /** Of its tree. */
  readonly digest: string;
}

const NAME = /^([A-Za-z0-9][A-Za-z0-9_.-]{0,62})@([A-Za-z0-9][A-Za-z0-9_.-]{0,62})$/;
const DIGEST = /^[a-z0-9]+:[0-9a-f]{64}$/;

/** `/images/NAME@VERSION/DIGEST`. */
export function imagePath({ name, version, digest }: ImageName): string {
  return `/images/${name}@${version}/${digest}`;
}

/** The inverse; undefined: it is no such path. */
export function imageAt(path: string): ImageName | undefined {
  const [, room, image = "", digest = "", ...others] = path.split("/");
  const [, name, version] = NAME.exec(image) ?? [];
  if (room !== "images" || others.length > 0 || name === undefined || version === undefined) return undefined;
  return DIGEST.test(digest) ? { name, version, digest } : undefined;
}

/** What tells one tree from all others: another tree may have the name and version. */
export function imageKey({ name, version, digest }: ImageName): string {
  return `${name}@${version} ${digest}`;
}

/** What the archives of an image's version are called. */
export function imageSubject({ name, version }: Pick<ImageName, "name" | "version">): string {
  return `image-${name}@${version}`;
}
