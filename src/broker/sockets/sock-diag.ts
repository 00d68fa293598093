/**
 * Questions to the kernel about the sockets of this network namespace (netlink(7), sock_diag(7)). It answers without
 * any socket's lock. Answers are read in slices: others are served between two of them.
 */
import { endianness } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { FdHandle } from "../../fd.ts";
import { type Native, TAKE } from "../../native.ts";
import { AF_UNIX } from "../../net/address.ts";
import { IPPROTO_TCP } from "../../net/socket-constants.ts";

// netlink(7), sock_diag(7), linux/sock_diag.h.
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLMSG_DONE = 3;
/** NLM_F_REQUEST | NLM_F_DUMP. */
const DUMP = 0x301;
/** struct nlmsghdr. */
const HEADER = 16;
/** struct unix_diag_msg, which attributes follow. */
const UNIX_MESSAGE = 16;

// States to list, as bits. UNIX sockets have these two of TCP as well.
export const ESTABLISHED: number = 1 << 1;
export const LISTENING: number = 1 << 10;

// What to tell of UNIX sockets, and the attributes that tell it (linux/unix_diag.h).
export const UDIAG_SHOW_NAME = 0x01;
export const UDIAG_SHOW_VFS = 0x02;
export const UDIAG_SHOW_RQLEN = 0x10;
export const UNIX_DIAG_NAME = 0;
export const UNIX_DIAG_VFS = 1;
export const UNIX_DIAG_RQLEN = 4;

/** Netlink has the byte order of the machine. */
export const isLittle: boolean = endianness() === "LE";

/** Bytes for one answer: some four hundred sockets. */
const ANSWER_BYTES = 32 * 1024;
/** Answers to one question: more sockets than a host has. */
const MAX_ANSWERS = 4096;

/** `failed`: an error, or an answer that is cut off. */
export type AnswerEnd = "more" | "done" | "failed";

/** struct nlmsghdr and struct inet_diag_req_v2 (linux/inet_diag.h). */
export function tcpQuestion(family: number, states: number): Uint8Array {
  const question = dump(72);
  question.setUint8(HEADER, family);
  question.setUint8(HEADER + 1, IPPROTO_TCP);
  question.setUint32(HEADER + 4, states, isLittle);
  return new Uint8Array(question.buffer);
}

/** struct nlmsghdr and struct unix_diag_req (linux/unix_diag.h). */
export function unixQuestion(states: number, show: number): Uint8Array {
  const question = dump(40);
  question.setUint8(HEADER, AF_UNIX);
  question.setUint32(HEADER + 4, states, isLittle);
  question.setUint32(HEADER + 12, show, isLittle);
  return new Uint8Array(question.buffer);
}

function dump(length: number): DataView {
  const question = new DataView(new ArrayBuffer(length));
  question.setUint32(0, length, isLittle);
  question.setUint16(4, SOCK_DIAG_BY_FAMILY, isLittle);
  question.setUint16(6, DUMP, isLittle);
  return question;
}

/** Has `read` read each answer to each question. Returns whether all of them were answered to the end. */
export async function askKernel(
  sys: Native,
  questions: readonly Uint8Array[],
  read: (answer: Buffer) => AnswerEnd,
): Promise<boolean> {
  const fd = sys.socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  if (fd < 0) return false;
  using socket = FdHandle.adopt(fd, sys);
  const bytes = Buffer.alloc(ANSWER_BYTES);
  let isWhole = true;
  for (const question of questions) {
    let end: AnswerEnd = sys.sendmsg(socket.fd, question, 0, new Int32Array(0), 0) < 0 ? "failed" : "more";
    for (let left = MAX_ANSWERS; left > 0 && end === "more"; left--) {
      const length = sys.recvbytes(socket.fd, bytes, TAKE);
      end = length <= 0 ? "failed" : read(bytes.subarray(0, length));
      if (end === "more") await nextTurn();
    }
    isWhole &&= end === "done";
  }
  return isWhole;
}

/** Reads the messages of one answer: `view` from `at` to `end` is what follows the header. */
export function readMessages(bytes: Uint8Array, read: (view: DataView, at: number, end: number) => void): AnswerEnd {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER <= view.byteLength; ) {
    const end = at + view.getUint32(at, isLittle);
    const type = view.getUint16(at + 4, isLittle);
    if (type === NLMSG_DONE) return "done";
    if (type !== SOCK_DIAG_BY_FAMILY || end <= at + HEADER || end > view.byteLength) return "failed";
    read(view, at + HEADER, end);
    at = aligned(end);
  }
  return "more";
}

/** As {@link readAttributes}, behind a struct unix_diag_msg. */
export function readUnixAttributes(
  view: DataView,
  start: number,
  stop: number,
  read: (type: number, at: number, end: number) => void,
): void {
  readAttributes(view, start + UNIX_MESSAGE, stop, read);
}

/** Reads attributes (struct nlattr): their contents are from `at` to `end`. */
export function readAttributes(
  view: DataView,
  start: number,
  stop: number,
  read: (type: number, at: number, end: number) => void,
): void {
  for (let at = start; at + 4 <= stop; ) {
    const length = view.getUint16(at, isLittle);
    if (length < 4 || at + length > stop) return;
    read(view.getUint16(at + 2, isLittle), at + 4, at + length);
    at = aligned(at + length);
  }
}

/** Messages and attributes begin at multiples of four (NLMSG_ALIGN, NLA_ALIGN). */
function aligned(at: number): number {
  return (at + 3) & ~3;
}
