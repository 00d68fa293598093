/** The messages of etcd that we use, with the numbers of its rpc.proto and kv.proto (3.4 and later). Pure. */
import { Message, MessageWriter } from "./protobuf.ts";

/** One key. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Of the last change of this key. */
  readonly revision: number;
}

/** One key, or all that begin with a prefix. */
export type Range = { readonly key: string } | { readonly prefix: string };

/** What must hold for a transaction. Revision 0: there is no such key. */
export type Condition = { readonly key: string } & ({ readonly revision: number } | { readonly present: true });

/** `lease`: the key goes when the lease ends. */
export type Change =
  | { readonly put: string; readonly value: string; readonly lease?: bigint }
  | { readonly remove: Range };

/** What became of a key. */
export type KeyEvent =
  | { readonly kind: "put"; readonly entry: Entry }
  | { readonly kind: "removed"; readonly key: string; readonly revision: number };

export interface TxnReply {
  readonly revision: number;
  readonly succeeded: boolean;
  /** Of each range of the transaction, in order. */
  readonly ranges: readonly (readonly Entry[])[];
}

export interface WatchReply {
  readonly created: boolean;
  /** Why etcd has ended the watch; undefined: it goes on. */
  readonly cancelled: string | undefined;
  /** Above 0: the revision that was asked for is older than this, and gone. */
  readonly compacted: number;
  readonly revision: number;
  readonly events: readonly KeyEvent[];
}

const EQUAL = 0;
const GREATER = 1;
const VERSION = 0;
const MOD = 2;
const DELETE = 1;

/** A transaction: `changes` if all conditions hold. With `ranges` it reads, all at one revision. */
export function txnRequest(
  conditions: readonly Condition[],
  changes: readonly Change[],
  ranges: readonly Range[] = [],
): Buffer {
  const message = new MessageWriter();
  for (const one of conditions) message.message(1, compare(one));
  for (const one of ranges) message.message(2, new MessageWriter().message(1, withRange(one).finish()).finish());
  for (const one of changes) message.message(2, change(one));
  return message.finish();
}

function compare(condition: Condition): Buffer {
  const message = new MessageWriter();
  if ("present" in condition) return message.number(1, GREATER).number(2, VERSION).text(3, condition.key).finish();
  // An absent value would be compared as 0 as well: proto3 leaves it out.
  return message.number(1, EQUAL).number(2, MOD).text(3, condition.key).number(6, condition.revision).finish();
}

function change(one: Change): Buffer {
  if ("remove" in one) return new MessageWriter().message(3, withRange(one.remove).finish()).finish();
  const put = new MessageWriter()
    .text(1, one.put)
    .text(2, one.value)
    .number(3, one.lease ?? 0n);
  return new MessageWriter().message(2, put.finish()).finish();
}

function withRange(range: Range): MessageWriter {
  if ("key" in range) return new MessageWriter().text(1, range.key);
  return new MessageWriter().text(1, range.prefix).text(2, endOf(range.prefix));
}

/** The first key after all that begin with the prefix. Ours are ASCII and end with a slash. */
function endOf(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

export function readTxn(bytes: Buffer): TxnReply {
  const message = new Message(bytes);
  const ranges = message.messages(3).flatMap((one) => one.messages(1));
  return {
    revision: revisionOf(message),
    succeeded: message.flag(2),
    ranges: ranges.map((range) => range.messages(2).map(entry)),
  };
}

/** Watches from this revision on, the revision included. */
export function watchRequest(range: Range, from: number): Buffer {
  return new MessageWriter().message(1, withRange(range).number(3, from).finish()).finish();
}

export function readWatch(bytes: Buffer): WatchReply {
  const message = new Message(bytes);
  return {
    created: message.flag(3),
    cancelled: message.flag(4) ? message.text(6) || "without a reason" : undefined,
    compacted: message.number(5),
    revision: revisionOf(message),
    events: message.messages(11).flatMap((event) => event.messages(2).map((kv) => keyEvent(event.number(1), kv))),
  };
}

function keyEvent(type: number, kv: Message): KeyEvent {
  const one = entry(kv);
  return type === DELETE ? { kind: "removed", key: one.key, revision: one.revision } : { kind: "put", entry: one };
}

/** A lease that ends after `seconds` without a keep-alive. etcd chooses its id. */
export function grantRequest(seconds: number): Buffer {
  return new MessageWriter().number(1, seconds).finish();
}

export function readGrant(bytes: Buffer): bigint {
  return new Message(bytes).integer(2);
}

/** For LeaseKeepAlive and LeaseRevoke. */
export function leaseRequest(lease: bigint): Buffer {
  return new MessageWriter().number(1, lease).finish();
}

/** Seconds that the lease has; 0: it has ended. */
export function readKeepAlive(bytes: Buffer): number {
  return new Message(bytes).number(3);
}

function entry(kv: Message): Entry {
  return { key: kv.text(1), value: kv.text(5), revision: kv.number(3) };
}

function revisionOf(message: Message): number {
  return message.messages(1)[0]?.number(3) ?? 0;
}
