/**
 * How many connections wait for accept(2) at each listening socket of this network namespace, and how many may: one
 * question to the kernel for all of them, without any socket's lock (sock_diag(7)). It is asked again after a second
 * at the earliest.
 */
import { endianness } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { FdHandle } from "../../fd.ts";
import { type Native, TAKE } from "../../native.ts";
import { AF_INET, AF_INET6, AF_UNIX } from "../../net/address.ts";
import { IPPROTO_TCP } from "../../net/socket-constants.ts";

export interface AcceptQueue {
  readonly length: number;
  readonly limit: number;
}

// netlink(7), sock_diag(7), linux/sock_diag.h.
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
/** NLM_F_REQUEST | NLM_F_DUMP. */
const DUMP = 0x301;
const HEADER = 16;
/** The states to list, as bits: TCP_LISTEN, which is LISTEN of UNIX sockets too. */
const LISTENING = 1 << 10;
const UDIAG_SHOW_RQLEN = 0x10;
const UNIX_DIAG_RQLEN = 4;

// Netlink has the byte order of the machine.
const little: boolean = endianness() === "LE";

/** Bytes for one answer: some four hundred sockets. */
const ANSWER_BYTES = 32 * 1024;
/** Answers to one question: more sockets than a host has. */
const MAX_ANSWERS = 4096;
const FRESH_MS = 1000;

export class AcceptQueues {
  readonly #sys: Native;
  #readAt = Number.NEGATIVE_INFINITY;
  #found: Promise<ReadonlyMap<number, AcceptQueue>> = Promise.resolve(new Map());

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /** By the socket's inode. Empty where the kernel does not tell. */
  read(): Promise<ReadonlyMap<number, AcceptQueue>> {
    const now = performance.now();
    if (now - this.#readAt >= FRESH_MS) {
      this.#readAt = now;
      this.#found = this.#ask();
    }
    return this.#found;
  }

  async #ask(): Promise<ReadonlyMap<number, AcceptQueue>> {
    const found = new Map<number, AcceptQueue>();
    const fd = this.#sys.socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    if (fd < 0) return found;
    using socket = FdHandle.adopt(fd, this.#sys);
    const bytes = Buffer.alloc(ANSWER_BYTES);
    for (const question of [inetQuestion(AF_INET), inetQuestion(AF_INET6), unixQuestion()]) {
      if (this.#sys.sendmsg(socket.fd, question, 0, new Int32Array(0), 0) < 0) continue;
      for (let left = MAX_ANSWERS; left > 0; left--) {
        const length = this.#sys.recvbytes(socket.fd, bytes, TAKE);
        if (length <= 0 || !readQueues(bytes.subarray(0, length), found)) break;
        await nextTurn();
      }
    }
    return found;
  }
}

/** struct nlmsghdr and struct inet_diag_req_v2 (linux/inet_diag.h). */
function inetQuestion(family: number): Uint8Array {
  const question = dump(72);
  question.setUint8(HEADER, family);
  question.setUint8(HEADER + 1, IPPROTO_TCP);
  question.setUint32(HEADER + 4, LISTENING, little);
  return new Uint8Array(question.buffer);
}

/** struct nlmsghdr and struct unix_diag_req (linux/unix_diag.h). */
function unixQuestion(): Uint8Array {
  const question = dump(40);
  question.setUint8(HEADER, AF_UNIX);
  question.setUint32(HEADER + 4, LISTENING, little);
  question.setUint32(HEADER + 12, UDIAG_SHOW_RQLEN, little);
  return new Uint8Array(question.buffer);
}

function dump(length: number): DataView {
  const question = new DataView(new ArrayBuffer(length));
  question.setUint32(0, length, little);
  question.setUint16(4, SOCK_DIAG_BY_FAMILY, little);
  question.setUint16(6, DUMP, little);
  return question;
}

/** Reads the messages of one answer. Returns whether more answers follow. */
export function readQueues(bytes: Uint8Array, found: Map<number, AcceptQueue>): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER <= view.byteLength; ) {
    const end = at + view.getUint32(at, little);
    // NLMSG_ERROR, NLMSG_DONE, and what is cut off.
    if (view.getUint16(at + 4, little) !== SOCK_DIAG_BY_FAMILY || end <= at + HEADER || end > view.byteLength)
      return false;
    if (view.getUint8(at + HEADER) === AF_UNIX) readUnix(view, at + HEADER, end, found);
    else if (end - at >= HEADER + 72) readInet(view, at + HEADER, found);
    at = aligned(end);
  }
  return true;
}

/** struct inet_diag_msg: idiag_rqueue and idiag_wqueue of a listener are its accept queue and the limit of that. */
function readInet(view: DataView, at: number, found: Map<number, AcceptQueue>): void {
  const [length, limit] = [view.getUint32(at + 56, little), view.getUint32(at + 60, little)];
  found.set(view.getUint32(at + 68, little), { length, limit });
}

/** struct unix_diag_msg, then attributes: struct nlattr and, for this one, struct unix_diag_rqlen. */
function readUnix(view: DataView, start: number, end: number, found: Map<number, AcceptQueue>): void {
  for (let at = start + 16; at + 12 <= end; ) {
    const length = view.getUint16(at, little);
    if (view.getUint16(at + 2, little) === UNIX_DIAG_RQLEN) {
      const queue = { length: view.getUint32(at + 4, little), limit: view.getUint32(at + 8, little) };
      found.set(view.getUint32(start + 4, little), queue);
    }
    if (length < 4) return;
    at = aligned(at + length);
  }
}

/** Messages and attributes begin at multiples of four (NLMSG_ALIGN, NLA_ALIGN). */
function aligned(at: number): number {
  return (at + 3) & ~3;
}
