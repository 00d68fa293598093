/**
 * How many connections wait for accept(2) at each listening socket of this network namespace, and how many may: one
 * question to the kernel for all of them, without any socket's lock (sock_diag(7)). It is asked again after a second
 * at the earliest.
 */
import type { Native } from "../../native.ts";
import { AF_INET, AF_INET6, AF_UNIX } from "../../net/address.ts";
import {
  type AnswerEnd,
  askKernel,
  isLittle,
  LISTENING,
  readMessages,
  readUnixAttributes,
  tcpQuestion,
  UDIAG_SHOW_RQLEN,
  UNIX_DIAG_RQLEN,
  unixQuestion,
} from "../sockets/sock-diag.ts";

export interface AcceptQueue {
  readonly length: number;
  readonly limit: number;
}

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
    const questions = [
      tcpQuestion(AF_INET, LISTENING),
      tcpQuestion(AF_INET6, LISTENING),
      unixQuestion(LISTENING, UDIAG_SHOW_RQLEN),
    ];
    await askKernel(this.#sys, questions, (answer) => readQueues(answer, found));
    return found;
  }
}

/** Reads the messages of one answer. */
export function readQueues(bytes: Uint8Array, found: Map<number, AcceptQueue>): AnswerEnd {
  return readMessages(bytes, (view, at, end) => {
    if (view.getUint8(at) === AF_UNIX) readUnix(view, at, end, found);
    else if (end - at >= 72) readInet(view, at, found);
  });
}

/** struct inet_diag_msg: idiag_rqueue and idiag_wqueue of a listener are its accept queue and the limit of that. */
function readInet(view: DataView, at: number, found: Map<number, AcceptQueue>): void {
  const [length, limit] = [view.getUint32(at + 56, isLittle), view.getUint32(at + 60, isLittle)];
  found.set(view.getUint32(at + 68, isLittle), { length, limit });
}

/** struct unix_diag_msg, then attributes; of this one, struct unix_diag_rqlen. */
function readUnix(view: DataView, start: number, stop: number, found: Map<number, AcceptQueue>): void {
  if (stop - start < 16) return;
  const inode = view.getUint32(start + 4, isLittle);
  readUnixAttributes(view, start, stop, (type, at, end) => {
    if (type !== UNIX_DIAG_RQLEN || end - at < 8) return;
    found.set(inode, { length: view.getUint32(at, isLittle), limit: view.getUint32(at + 4, isLittle) });
  });
}
