/** Options and results of the methods of DirectoryHandle. Only types; the names are those of node:fs. */
import type { WaitOptions } from "../../wait-options.ts";
import type { EntryType } from "./entries.ts";
import type { OpenFlags } from "./open-flags.ts";

/** Data for one write. */
export type FileData = string | NodeJS.ArrayBufferView;

export interface ReadFileOptions extends WaitOptions {
  /** Return a string instead of a Buffer. */
  readonly encoding?: BufferEncoding | undefined;
}

export interface WriteFileOptions extends WaitOptions {
  /** Encoding of `data`, if it is a string. Default: "utf8". */
  readonly encoding?: BufferEncoding | undefined;
  /** Permissions of a new file, before the umask. 0o666 if not given. */
  readonly mode?: number | undefined;
  /** "w" if not given. */
  readonly flag?: OpenFlags | undefined;
  /**
   * Write a new file, flush it, and then replace the old one. A reader, or a crash, sees all of one or all of the
   * other. A link is replaced, not followed. Owner and mode are those of a new file.
   */
  readonly atomic?: boolean | undefined;
}

export interface AppendFileOptions extends WaitOptions {
  /** Encoding of `data`, if it is a string. Default: "utf8". */
  readonly encoding?: BufferEncoding | undefined;
  /** Permissions of a new file, before the umask. 0o666 if not given. */
  readonly mode?: number | undefined;
}

export interface CopyFileOptions extends WaitOptions {
  /** false: throw EEXIST when the target exists. Default: true. */
  readonly replace?: boolean | undefined;
}

export interface ReaddirOptions extends WaitOptions {
  /** "utf8" (default), or "buffer" for names that are not UTF-8. */
  readonly encoding?: "utf8" | "buffer" | undefined;
  /** Return {@link DirectoryEntry}s instead of names. */
  readonly withFileTypes?: boolean | undefined;
}

/** One entry of a directory. */
export interface DirectoryEntry<Name extends string | Buffer = string> {
  readonly name: Name;
  readonly type: EntryType;
}

export interface RmOptions extends WaitOptions {
  /** Remove directories too, with everything inside. A mount inside stays (EXDEV). */
  readonly recursive?: boolean | undefined;
  /** Ignore a path that does not exist. */
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
