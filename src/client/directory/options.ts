/** What the methods of a DirectoryHandle are told, and what they give. Types alone; names are those of node:fs. */
import type { WaitOptions } from "../../wait-options.ts";
import type { EntryType } from "./entries.ts";
import type { OpenFlags } from "./open-flags.ts";

/** What can be written at once. */
export type FileData = string | NodeJS.ArrayBufferView;

export interface ReadFileOptions extends WaitOptions {
  /** Gives a string instead of a Buffer. */
  readonly encoding?: BufferEncoding | undefined;
}

export interface WriteFileOptions extends WaitOptions {
  /** Of `data`, if it is a string. "utf8" if not given. */
  readonly encoding?: BufferEncoding | undefined;
  /** Permissions of a new file, before the umask. 0o666 if not given. */
  readonly mode?: number | undefined;
  /** "w" if not given. */
  readonly flag?: OpenFlags | undefined;
  /**
   * Writes a new file, brings it to the disk, and puts it in the place of the old one: a reader, or someone who
   * switches the machine off, has all of one or all of the other. A link is replaced, not followed; owner and mode are
   * a new file's.
   */
  readonly atomic?: boolean | undefined;
}

export interface ReaddirOptions extends WaitOptions {
  /** "utf8" (if not given), or "buffer", for names that are no text. */
  readonly encoding?: "utf8" | "buffer" | undefined;
  /** Gives {@link DirectoryEntry}s instead of names. */
  readonly withFileTypes?: boolean | undefined;
}

/** One entry of a directory. */
export interface DirectoryEntry<Name extends string | Buffer = string> {
  readonly name: Name;
  readonly type: EntryType;
}

export interface RmOptions extends WaitOptions {
  /** Removes directories too, with all that is in them, but for what is mounted there (EXDEV). */
  readonly recursive?: boolean | undefined;
  /** Says nothing if it is not there. */
  readonly force?: boolean | undefined;
}

export interface StreamOptions extends WaitOptions {
  readonly encoding?: BufferEncoding | undefined;
  /** Byte to start at. */
  readonly start?: number | undefined;
  /** Bytes read or kept at once. */
  readonly highWaterMark?: number | undefined;
}

export interface ReadStreamOptions extends StreamOptions {
  /** Last byte to read. */
  readonly end?: number | undefined;
}

export interface WriteStreamOptions extends StreamOptions {
  /** "w" if not given. */
  readonly flags?: OpenFlags | undefined;
  /** Permissions of a new file, before the umask. 0o666 if not given. */
  readonly mode?: number | undefined;
}
