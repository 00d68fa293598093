/** Encodes requests to berth-guard and decodes its replies; native/guard/protocol.h describes each message. Pure. */

/** Requests: their first integer. */
export const FORK = 1;
export const RECEIVE = 2;
export const HOLD = 3;
export const DROP = 4;
export const RUN = 5;
export const KEEP = 8;
export const LEAVE = 9;

/** The second integer of the second reply to {@link RECEIVE}: the descriptors that were refused are closed. */
export const FINISHED: number = -(2 ** 31);

/** How {@link RECEIVE} reads. */
export type ReceiveMode = "frame" | "datagram" | "bytes";

const MODES: Readonly<Record<ReceiveMode, number>> = { frame: 0, datagram: 1, bytes: 2 };

/** A system call for a worker, about the descriptor at `index` of those that come with the request. */
export type GuardCall =
  | {
      readonly call: "getsockopt";
      readonly index: number;
      readonly level: number;
      readonly option: number;
      readonly room: number;
    }
  /** One int of an option's value, as what the call returned. */
  | {
      readonly call: "getword";
      readonly index: number;
      readonly level: number;
      readonly option: number;
      readonly word: number;
    }
  /** As {@link encodeBatch} makes it. Returns 1 and no bytes if the results are as expected, else 0 and the results. */
  | { readonly call: "batch"; readonly index: number; readonly batch: Uint8Array }
  | {
      readonly call: "setsockopt";
      readonly index: number;
      readonly level: number;
      readonly option: number;
      readonly value: Uint8Array;
    }
  | { readonly call: "getsockname" | "getpeername" | "getfl" | "drain" | "getfilter"; readonly index: number }
  | { readonly call: "setfilter"; readonly index: number; readonly program: Uint8Array }
  | { readonly call: "bind" | "connect"; readonly index: number; readonly address: Uint8Array }
  | { readonly call: "listen"; readonly index: number; readonly backlog: number }
  | { readonly call: "shutdown"; readonly index: number; readonly how: number }
  | { readonly call: "poll"; readonly index: number; readonly events: number }
  | { readonly call: "setfl"; readonly index: number; readonly flags: number };

/** What a call returned, or -errno; and the bytes it gave. */
export interface GuardResult {
  readonly value: number;
  readonly bytes: Uint8Array;
}

/** A message that a worker has received. */
export interface ReceivedMessage {
  /** Its bytes as recvmsg(2) counts them, or -errno. */
  readonly size: number;
  readonly bytes: Buffer;
  readonly flags: number;
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** For each descriptor that came: undefined if it passed, or why it did not. */
  readonly verdicts: readonly (string | undefined)[];
}

const WORD = 4;
/** The integers before a call's bytes. */
const HEAD = 5;
const NO_BYTES = new Uint8Array(0);

/** Why a descriptor was refused, by its number in the protocol, after "cannot be used: ". */
const REASONS: readonly (string | undefined)[] = [
  undefined,
  "an O_PATH descriptor names a file without opening it",
  "only sockets, pipes, files and memfds can be stashed",
  "its file system does not say what it is",
  "it is a file of a berth's root, or of a file system that is not local (FUSE, NFS, proc) or not mounted on the host; " +
    "copy what is in it to a memfd",
  "too many descriptors came with it",
];

const NUMBERS = {
  getsockopt: 1,
  setsockopt: 2,
  getsockname: 3,
  getpeername: 4,
  bind: 5,
  connect: 6,
  listen: 7,
  shutdown: 8,
  poll: 9,
  getfl: 10,
  setfl: 11,
  drain: 12,
  getword: 13,
  batch: 14,
  getfilter: 15,
  setfilter: 16,
} as const satisfies Record<GuardCall["call"], number>;

/** A request of integers only. */
export function encodeWords(...words: number[]): Uint8Array {
  return bytesIn(Int32Array.from(words));
}

/** A request to read one message of the socket that comes with it, and at most `most` descriptors. */
export function encodeReceive(id: number, mode: ReceiveMode, most: number): Uint8Array {
  return encodeWords(RECEIVE, id, MODES[mode], most);
}

/** A worker takes no longer request. */
const MOST_BYTES = 64 * 1024;
// A request is sent before the next one is made.
const outgoing = new Int32Array(MOST_BYTES / WORD);

/** A request to carry out calls in their order, valid until the next one. */
export function encodeRun(id: number, calls: readonly GuardCall[]): Uint8Array {
  const size = 2 + sizeOf(calls);
  const words = size <= outgoing.length ? outgoing : new Int32Array(size);
  words[0] = RUN;
  words[1] = id;
  putCalls(words, 2, calls);
  return bytesIn(words).subarray(0, size * WORD);
}

/** Calls alone, as they are in the request of {@link encodeRun}. */
export function encodeCalls(calls: readonly GuardCall[]): Uint8Array {
  const words = new Int32Array(sizeOf(calls));
  putCalls(words, 0, calls);
  return bytesIn(words);
}

/**
 * Calls on one descriptor, whatever their index is, that can be sent again and again, with the results that are
 * expected: as bytes of an earlier result.
 */
export function encodeBatch(calls: readonly GuardCall[], expected: Uint8Array): Uint8Array {
  const before = 1 + padded(expected.length) / WORD;
  const words = new Int32Array(before + sizeOf(calls));
  words[0] = padded(expected.length);
  bytesIn(words).set(expected, WORD);
  putCalls(words, before, calls);
  return bytesIn(words);
}

/** How many integers the calls take. */
function sizeOf(calls: readonly GuardCall[]): number {
  let size = 0;
  for (const call of calls) size += HEAD + padded(bytesOf(call).length) / WORD;
  return size;
}

/** A repair has hundreds, so this makes no object for each. */
function putCalls(words: Int32Array, start: number, calls: readonly GuardCall[]): void {
  const bytes = bytesIn(words);
  let at = start;
  for (const call of calls) {
    const own = bytesOf(call);
    words[at] = NUMBERS[call.call];
    words[at + 1] = call.index;
    words[at + 2] = first(call);
    words[at + 3] = second(call);
    words[at + 4] = roomOf(call) ?? own.length;
    at += HEAD;
    if (own.length > 0) bytes.set(own, at * WORD);
    at += padded(own.length) / WORD;
  }
}

/** The results of `count` calls, from the bytes after a reply's first two integers; undefined if they are none. */
export function decodeResults(bytes: Uint8Array, count: number): GuardResult[] | undefined {
  const results: GuardResult[] = [];
  const copy = Uint8Array.prototype.slice.call(bytes, 0, bytes.length & -WORD);
  const words = new Int32Array(copy.buffer);
  for (let at = 0; results.length < count; ) {
    const value = words[at];
    const length = words[at + 1];
    if (value === undefined || length === undefined) return undefined;
    at += 2;
    results.push({ value, bytes: length === 0 ? NO_BYTES : copy.subarray(at * WORD, at * WORD + length) });
    at += padded(length) / WORD;
  }
  return results;
}

/** The first reply to {@link RECEIVE}: `bytes` is the whole of it. Copies what it returns. */
export function decodeReceived(bytes: Buffer): ReceivedMessage {
  const word = (index: number): number => bytes.readInt32LE(index * WORD);
  const count = word(6);
  const verdicts = Array.from({ length: count }, (_, at) => REASONS[word(7 + at)]);
  const size = word(1);
  const start = (7 + count) * WORD;
  return {
    size,
    bytes: Buffer.from(bytes.subarray(start, start + Math.max(0, size))),
    flags: word(2),
    pid: word(3),
    uid: word(4) >>> 0,
    gid: word(5) >>> 0,
    verdicts,
  };
}

/** The descriptors of a message that did not pass, each in a sentence. */
export function refusedOf({ verdicts }: Pick<ReceivedMessage, "verdicts">): string[] {
  return verdicts.filter((verdict) => verdict !== undefined);
}

/** The first of the call's own two integers. */
function first(call: GuardCall): number {
  switch (call.call) {
    case "getsockopt":
    case "setsockopt":
    case "getword":
      return call.level;
    case "listen":
      return call.backlog;
    case "shutdown":
      return call.how;
    case "poll":
      return call.events;
    case "setfl":
      return call.flags;
    case "getsockname":
    case "getpeername":
    case "getfl":
    case "drain":
    case "bind":
    case "connect":
    case "batch":
    case "getfilter":
    case "setfilter":
      return 0;
    default:
      return call satisfies never;
  }
}

/** The second of them. */
function second(call: GuardCall): number {
  return call.call === "getsockopt" || call.call === "setsockopt" || call.call === "getword" ? call.option : 0;
}

/** Of a call that reads: how many bytes the value has. */
function roomOf(call: GuardCall): number | undefined {
  if (call.call === "getsockopt") return call.room;
  return call.call === "getword" ? (call.word + 1) * WORD : undefined;
}

function bytesOf(call: GuardCall): Uint8Array {
  if (call.call === "setsockopt") return call.value;
  if (call.call === "batch") return call.batch;
  if (call.call === "setfilter") return call.program;
  return call.call === "bind" || call.call === "connect" ? call.address : NO_BYTES;
}

function bytesIn(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer);
}

function padded(length: number): number {
  return (length + WORD - 1) & -WORD;
}
