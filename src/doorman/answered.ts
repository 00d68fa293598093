/**
 * One listening socket of a sleeping server, or of one that lets nobody in. Connections are accepted and answered; one
 * that was accepted cannot be put back, so a player is told to join again.
 */
import { constants } from "node:os";
import { check } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import { type Native, type Poll, READABLE, TAKE } from "../native.ts";
import { POLLIN } from "../net/socket-constants.ts";
import type { Admission } from "./admission.ts";
import type { Conversation } from "./codecs.ts";
import { type Sender, senderOf } from "./sender.ts";

const { EAGAIN } = constants.errno;
/** sockaddr_in6, the longer one. */
const SOCKADDR_BYTES = 28;
/** Connections at a time, of all and of one network; and how long one may last. */
const MOST = 64;
const MOST_OF_NETWORK = 8;
const LONGEST_MS = 10_000;
const IN_A_ROW = 16;
/** How long to wait for a connection that is there. */
const ACCEPT_MS = 5;
const READ_BYTES = 4096;
const NO_FDS = new Int32Array(0);

export interface AnsweredContext {
  readonly sys: Native;
  /** Undefined: connections are closed at once. `isKnown`: whether this client may wake the server. */
  readonly converse: ((isKnown: boolean) => Conversation) | undefined;
  /** Any connection wakes the server, and waits for it. */
  readonly wakesAtOnce: boolean;
  readonly admission: Pick<Admission, "knows" | "admits">;
  readonly networkOf: (address: string) => string;
  readonly onWake: () => void;
}

interface Open {
  readonly network: string;
  readonly end: () => void;
}

export class AnsweredSocket {
  readonly #context: AnsweredContext;
  readonly #fd: number;
  readonly #poll: Poll;
  /** The oldest first. */
  readonly #open = new Set<Open>();

  /** `fd` is borrowed. */
  constructor(fd: number, context: AnsweredContext) {
    this.#context = context;
    this.#fd = fd;
    this.#poll = new context.sys.Poll(fd, () => this.#accept(), true);
    check("poll", this.#poll.start(READABLE));
  }

  close(): void {
    this.#poll.close();
    for (const { end } of [...this.#open]) end();
  }

  /** Ends the oldest connection of a network that has its share, or where none is left, of the one that has most. */
  #makeRoom(network: string): void {
    const byNetwork = new Map<string, Open[]>();
    for (const one of this.#open) byNetwork.set(one.network, [...(byNetwork.get(one.network) ?? []), one]);
    const own = byNetwork.get(network) ?? [];
    if (own.length >= MOST_OF_NETWORK) return own[0]?.end();
    if (this.#open.size < MOST) return;
    const [most] = [...byNetwork.values()].sort((one, other) => other.length - one.length);
    most?.[0]?.end();
  }

  #accept(): void {
    if (this.#context.wakesAtOnce) return this.#context.onWake();
    const { sys } = this.#context;
    for (let accepted = 0; accepted < IN_A_ROW; accepted++) {
      if ((Math.max(0, sys.pollNow(this.#fd, POLLIN)) & POLLIN) === 0) return;
      // The socket is as its server has it, mostly a blocking one. A server that was started by hand may have accepted
      // the connection first.
      const fd = sys.acceptWithin(this.#fd, ACCEPT_MS);
      if (fd < 0) return;
      this.#talk(FdHandle.adopt(fd, sys));
    }
  }

  #talk(connection: FdHandle): void {
    const { sys, converse, admission, onWake } = this.#context;
    if (converse === undefined) return connection.close();
    const sender = peerOf(connection.fd, sys);
    const network = sender === undefined ? "" : this.#context.networkOf(sender.host);
    this.#makeRoom(network);
    const conversation = converse(admission.knows(sender));
    const bytes = Buffer.alloc(READ_BYTES);
    const poll = new sys.Poll(
      connection.fd,
      () => {
        const length = sys.recvbytes(connection.fd, bytes, TAKE);
        // Readiness may be told once more after all has been read.
        if (length === -EAGAIN) return;
        if (length <= 0) return end();
        const { kind, reply, ends } = conversation.feed(bytes.subarray(0, length));
        // It fits into the empty buffer of a new connection.
        if (reply.length > 0) sys.sendmsg(connection.fd, reply, 0, NO_FDS, 0);
        const isAdmitted = kind === "join" && admission.admits(sender);
        if (ends) end();
        if (isAdmitted) onWake();
      },
      true,
    );
    const timer = setTimeout(() => end(), LONGEST_MS);
    const end = (): void => {
      if (!this.#open.delete(open)) return;
      clearTimeout(timer);
      poll.close();
      connection.close();
    };
    const open: Open = { network, end };
    this.#open.add(open);
    if (poll.start(READABLE) < 0) end();
  }
}

function peerOf(fd: number, sys: Native): Sender | undefined {
  const address = Buffer.alloc(SOCKADDR_BYTES);
  return sys.getpeername(fd, address) < 0 ? undefined : senderOf(address);
}
