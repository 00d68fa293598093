/** How images and their versions are named, and what a reference to one means. Pure. */

/** A reference to an image: `NAME` (its current version), `NAME@VERSION`, or an absolute path of a tree. */
export type ImageReference =
  | { readonly kind: "image"; readonly name: string; readonly version: string | undefined }
  | { readonly kind: "path"; readonly path: string };

const part = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}";
const reference = new RegExp(`^(${part})(?:@(${part}))?$`);

/** Beside the versions of an image, the link to the one that counts. */
export const CURRENT = "current";

/** What {@link parseReference} accepts, for messages. */
export const IMAGE_RULE =
  "an image is NAME or NAME@VERSION, each 1 to 64 of A-Z a-z 0-9 _ . - and beginning with a letter or digit";

/** Takes a reference apart; undefined if it is none. */
export function parseReference(text: string): ImageReference | undefined {
  if (text.startsWith("/") && !text.includes("\0")) return { kind: "path", path: text };
  const [whole, name = "", version] = reference.exec(text) ?? [];
  return whole === undefined || version === CURRENT ? undefined : { kind: "image", name, version };
}
