/** Names of images and versions, and references to them. Pure. */

/** A reference to an image: `NAME` (its current version), `NAME@VERSION`, or an absolute path of a tree. */
export type ImageReference =
  | { readonly kind: "image"; readonly name: string; readonly version: string | undefined }
  | { readonly kind: "path"; readonly path: string };

const part = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}";
const reference = new RegExp(`^(${part})(?:@(${part}))?$`);

/** The link to an image's current version. It is in the folder of the versions. */
export const CURRENT = "current";

/** What {@link parseReference} accepts, for messages. */
export const IMAGE_RULE =
  "an image is NAME or NAME@VERSION, each 1 to 64 of A-Z a-z 0-9 _ . - and starting with a letter or digit";

/** Parses a reference. Undefined when the text is not one. */
export function parseReference(text: string): ImageReference | undefined {
  if (text.startsWith("/") && !text.includes("\0")) return { kind: "path", path: text };
  const [whole, name = "", version] = reference.exec(text) ?? [];
  return whole === undefined || version === CURRENT ? undefined : { kind: "image", name, version };
}
