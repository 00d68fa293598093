/**
 * Paths beneath a directory as the kernel takes them: bytes, because a file name can have any byte except `/` and NUL.
 * It never looks at a file.
 */
import { BerthError } from "../../errors.ts";

/** A path beneath a {@link DirectoryHandle}. Use bytes if it may not be UTF-8. */
export type BeneathPath = string | Uint8Array;

/** A path, split before its last component. `name` keeps one trailing slash: it means "only if a directory". */
export interface SplitPath {
  readonly parent: Uint8Array;
  readonly name: Uint8Array;
}

const SLASH = 0x2f;
const DOT = 0x2e;

/** The path's bytes. Throws USAGE for an empty path, a NUL byte or half a surrogate pair. */
export function pathBytes(path: BeneathPath): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length === 0) throw new BerthError("USAGE", 'the path is empty; the directory itself is "."');
  if (bytes.includes(0))
    throw new BerthError("USAGE", `the path ${shown(path)} has a NUL byte, which a file name cannot have`);
  // Buffer.from() replaces a lone surrogate with U+FFFD: the name of another file.
  if (typeof path === "string" && bytes.toString() !== path)
    throw new BerthError(
      "USAGE",
      `the path ${shown(path)} is not well-formed text; give the bytes of the name in a Buffer`,
    );
  return bytes;
}

/**
 * Splits a path for a call that takes a directory and a name. Throws USAGE for `/` and paths that end in `.` or `..`:
 * they name no entry, and openat2(2) could not keep `..` inside.
 */
export function splitPath(path: BeneathPath): SplitPath {
  const bytes = pathBytes(path);
  const end = endOfName(bytes, bytes.length);
  const start = startOfName(bytes, end);
  const name = bytes.subarray(start, end);
  if (isDots(name) || name.length === 0)
    throw new BerthError("USAGE", `the path ${shown(path)} must end in the name of an entry, not in "/", "." or ".."`);
  return {
    parent: start === 0 ? Buffer.from(".") : bytes.subarray(0, start),
    name: bytes.subarray(start, Math.min(end + 1, bytes.length)),
  };
}

/** The path up to each component that names an entry, shortest first: `a`, `a/b`, `a/b/c`. */
export function prefixes(path: BeneathPath): Uint8Array[] {
  const bytes = pathBytes(path);
  const found: Uint8Array[] = [];
  for (let end = endOfName(bytes, bytes.length); end > 0; ) {
    const start = startOfName(bytes, end);
    if (!isDots(bytes.subarray(start, end))) found.push(bytes.subarray(0, end));
    end = endOfName(bytes, start);
  }
  return found.reverse();
}

/** For messages: as text, quoted if necessary. */
export function shown(path: BeneathPath): string {
  const text = typeof path === "string" ? path : Buffer.from(path).toString();
  return /^[\w./@:+~-]+$/.test(text) ? text : JSON.stringify(text);
}

/** The text of a name, or undefined if it is not UTF-8. */
export function nameText(name: Buffer): string | undefined {
  const text = name.toString();
  return Buffer.from(text).equals(name) ? text : undefined;
}

function endOfName(bytes: Uint8Array, end: number): number {
  let at = end;
  while (at > 0 && bytes[at - 1] === SLASH) at--;
  return at;
}

function startOfName(bytes: Uint8Array, end: number): number {
  return bytes.subarray(0, end).lastIndexOf(SLASH) + 1;
}

function isDots(name: Uint8Array): boolean {
  return (name.length === 1 || name.length === 2) && name.every((byte) => byte === DOT);
}

/** A name read in the directory `path`, as a string. Throws USAGE if it is not UTF-8. */
export function textOf(name: Buffer, path: BeneathPath): string {
  const text = nameText(name);
  if (text !== undefined) return text;
  throw new BerthError(
    "USAGE",
    `a name at ${shown(path)} is not UTF-8 (${name.toString("latin1")}); use encoding: "buffer" to get it as bytes`,
  );
}
