/**
 * The index of an archive, as casync(1) writes it (`.caibx`): which chunks the archive consists of, in their order.
 * Source: casync's src/caformat.h. All numbers are 64 bits, little-endian.
 */
import { Fault } from "../fault.ts";

const INDEX = 0x96824d9c7b129ff9n;
const TABLE = 0xe75b9e112f17417dn;
const TAIL = 0x4b4f050e5549ecd1n;
const HEAD_BYTES = 48;
const TABLE_AT = 64;
const ITEM_BYTES = 40;
/** Of a chunk of casync, but for the last one of an archive. */
const LEAST_CHUNK = 16 * 1024;

export interface ArchiveIndex {
  /** Bytes of the archive. */
  readonly bytes: number;
  /** The digests that name the chunks, each once, in hexadecimal. */
  readonly chunks: ReadonlySet<string>;
}

/** Chunks that an archive of so many bytes has at most. */
function mostChunks(bytes: number): number {
  return Math.floor(bytes / LEAST_CHUNK) + 1;
}

/** Bytes that the index of an archive of so many bytes has at most. */
export function longestIndex(bytes: number): number {
  return TABLE_AT + (mostChunks(bytes) + 1) * ITEM_BYTES;
}

/** Throws BAD_ARCHIVE. `name` is for the message. */
export function readIndex(file: Buffer, name: string): ArchiveIndex {
  const items = (file.length - TABLE_AT) / ITEM_BYTES - 1;
  const number = (at: number): bigint => file.readBigUInt64LE(at);
  const isIndex =
    Number.isInteger(items) &&
    items >= 0 &&
    number(0) === BigInt(HEAD_BYTES) &&
    number(8) === INDEX &&
    number(HEAD_BYTES + 8) === TABLE &&
    number(file.length - 8) === TAIL;
  if (!isIndex) throw new Fault("BAD_ARCHIVE", `${name} is no index of casync`);
  const chunks = new Set<string>();
  let end = 0n;
  for (let at = TABLE_AT; at < file.length - ITEM_BYTES; at += ITEM_BYTES) {
    const next = number(at);
    if (next <= end) throw new Fault("BAD_ARCHIVE", `${name} has chunks in a wrong order`);
    end = next;
    chunks.add(file.toString("hex", at + 8, at + ITEM_BYTES));
  }
  const bytes = Number(end);
  if (!Number.isSafeInteger(bytes)) throw new Fault("BAD_ARCHIVE", `${name} is larger than a file can be`);
  if (items > mostChunks(bytes)) throw new Fault("BAD_ARCHIVE", `${name} has more chunks than casync makes`);
  return { bytes, chunks };
}
