/**
 * What has come on connections that nobody has accepted yet: put together from copies of their segments, which may come
 * twice, cut, or in another order. Pure. It keeps a bounded number of connections, and of bytes for each.
 */
import { endianness } from "node:os";
import { RECORD } from "../../net/arrival-program.ts";
import { type Sender, senderOf } from "../senders/sender.ts";

/** How many connections are kept, and how many segments of one. */
const MOST_CONNECTIONS = 512;
const MOST_SEGMENTS = 32;
/** How many accepted ones are remembered. */
const MOST_DONE = 4096;
const isLittle = endianness() === "LE";

export interface Segment {
  readonly sequence: number;
  readonly cookie: bigint;
  readonly sender: Sender;
  /** It had more than `data`. */
  readonly isCut: boolean;
  readonly data: Uint8Array;
}

function keyOf({ host, port }: Sender): string {
  return `${host} ${port}`;
}

/** Reads a record of the program's. Undefined if it is none. */
export function readSegment(record: Uint8Array): Segment | undefined {
  if (record.length <= RECORD.data) return undefined;
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const length = view.getUint32(RECORD.length, isLittle);
  const sender = senderOf(bytes.subarray(RECORD.sender, RECORD.data));
  if (length === 0 || sender === undefined) return undefined;
  const room = record.length - RECORD.data;
  return {
    sequence: view.getUint32(RECORD.sequence),
    cookie: view.getBigUint64(RECORD.cookie, isLittle),
    sender,
    isCut: length > room,
    data: Uint8Array.from(bytes.subarray(RECORD.data, RECORD.data + Math.min(length, room))),
  };
}

export interface Arrival {
  readonly cookie: bigint;
  readonly segments: Segment[];
  /** What the client wants, once its bytes say so. */
  want?: "answer" | "login";
}

export class Arrivals {
  /** The oldest first. */
  readonly #byKey = new Map<string, Arrival>();
  readonly #done = new Set<bigint>();

  /** The connection that it belongs to, with it. Undefined where one that was accepted goes on. */
  add(segment: Segment): Arrival | undefined {
    if (this.#done.has(segment.cookie)) return undefined;
    const key = keyOf(segment.sender);
    const known = this.#byKey.get(key);
    const arrival: Arrival = known?.cookie === segment.cookie ? known : { cookie: segment.cookie, segments: [] };
    if (arrival.segments.length < MOST_SEGMENTS) arrival.segments.push(segment);
    if (arrival === known) return arrival;
    this.#byKey.delete(key);
    this.#byKey.set(key, arrival);
    forgetBeyond(this.#byKey, MOST_CONNECTIONS);
    return arrival;
  }

  /** This one was accepted. */
  accepted(sender: Sender, cookie: bigint): void {
    this.#byKey.delete(keyOf(sender));
    this.#done.add(cookie);
    forgetBeyond(this.#done, MOST_DONE);
  }

  /** Those that are known. */
  get all(): readonly Arrival[] {
    return [...this.#byKey.values()];
  }

  clear(): void {
    this.#byKey.clear();
  }
}

interface Kept<Key> {
  readonly size: number;
  keys(): Iterable<Key>;
  delete(key: Key): boolean;
}

function forgetBeyond<Key>(kept: Kept<Key>, most: number): void {
  for (const oldest of kept.keys()) {
    if (kept.size <= most) return;
    kept.delete(oldest);
  }
}

/** The bytes from the first one on, as far as none is missing. */
export function bytesOf({ segments }: Arrival): Uint8Array {
  const [first] = segments;
  if (first === undefined) return new Uint8Array(0);
  const after = ({ sequence }: Segment): number => (sequence - first.sequence) | 0;
  const sorted = [...segments].sort((one, other) => after(one) - after(other));
  const pieces: Uint8Array[] = [];
  let end = after(sorted[0] ?? first);
  for (const segment of sorted) {
    const known = end - after(segment);
    if (known < 0) break;
    const piece = segment.data.subarray(Math.min(known, segment.data.length));
    pieces.push(piece);
    end += piece.length;
    if (segment.isCut && piece.length > 0) break;
  }
  return Buffer.concat(pieces);
}
