/** The connections to one listening socket that were accepted: each is answered, for a limited time. */
import { constants } from "node:os";
import { FdHandle } from "../../fd.ts";
import { type Native, READABLE, TAKE } from "../../native.ts";
import { POLLIN, SO_ACCEPTCONN, SOL_SOCKET } from "../../net/socket-constants.ts";
import { hangsUp, socketOption } from "../../net/socket-queries.ts";
import type { Conversation } from "../interfaces/codecs.ts";
import type { Admission } from "../senders/admission.ts";
import { type Sender, senderOf } from "../senders/sender.ts";

const { EAGAIN } = constants.errno;
/** sockaddr_in6, the longer one. */
const SOCKADDR_BYTES = 28;
/** Connections at a time, of all and of one network; and how long one may last. */
const MOST = 64;
const MOST_OF_NETWORK = 8;
const LONGEST_MS = 10_000;
/** How long to wait for a connection that is there. */
const ACCEPT_MS = 5;
const READ_BYTES = 4096;
const NO_FDS = new Int32Array(0);

export interface ConversationsContext {
  readonly sys: Native;
  /** Undefined: connections are closed at once. `isKnown`: whether this client may wake the server. */
  readonly converse: ((isKnown: boolean) => Conversation) | undefined;
  readonly admission: Pick<Admission, "knows" | "admits">;
  readonly networkOf: (address: string) => string;
  readonly onWake: () => void;
}

interface Open {
  readonly network: string;
  readonly end: () => void;
}

export class Conversations {
  readonly #context: ConversationsContext;
  /** The oldest first. */
  readonly #open = new Set<Open>();

  constructor(context: ConversationsContext) {
    this.#context = context;
  }

  /**
   * Accepts the next connection, if there is one. False if there is none. `onAccepted` is told who it is, and gets the
   * descriptor, which is borrowed.
   */
  accept(listener: number, onAccepted?: (sender: Sender | undefined, fd: number) => void): boolean {
    const { sys } = this.#context;
    if ((Math.max(0, sys.pollNow(listener, POLLIN)) & POLLIN) === 0) return false;
    // The socket is as its server has it, mostly a blocking one. A server that was started by hand may have accepted
    // the connection first.
    const fd = sys.acceptWithin(listener, ACCEPT_MS);
    if (fd < 0) return false;
    const connection = FdHandle.adopt(fd, sys);
    const sender = peerOf(fd, sys);
    onAccepted?.(sender, fd);
    this.#talk(connection, sender);
    return true;
  }

  close(): void {
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

  #talk(connection: FdHandle, sender: Sender | undefined): void {
    const { sys, converse, admission, onWake } = this.#context;
    if (converse === undefined) return connection.close();
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

/** Whether it is a listener no longer: its server has shut it down. Then it is ready for ever, and accept(2) fails. */
export function isShutDown(listener: number, sys: Native): boolean {
  return hangsUp(listener, sys) || socketOption(listener, SOL_SOCKET, SO_ACCEPTCONN, sys) !== 1;
}

function peerOf(fd: number, sys: Native): Sender | undefined {
  const address = Buffer.alloc(SOCKADDR_BYTES);
  return sys.getpeername(fd, address) < 0 ? undefined : senderOf(address);
}
