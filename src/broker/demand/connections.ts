/**
 * Lists the open connections to what berths listen on, as the kernel tells (sock_diag(7)). A connection to a UNIX
 * socket is known by its listener's file, or by its abstract name. A path as text tells nothing: any user may name a
 * socket so (hazard 93).
 */
import type { Native } from "../../native.ts";
import { type Address, AF_INET, AF_INET6, AF_UNIX, encodeSockaddr, familyNumber } from "../../net/address.ts";
import {
  type AnswerEnd,
  askKernel,
  ESTABLISHED,
  isLittle,
  LISTENING,
  readAttributes,
  readMessages,
  readUnixAttributes,
  tcpQuestion,
  UDIAG_SHOW_NAME,
  UDIAG_SHOW_RQLEN,
  UDIAG_SHOW_VFS,
  UNIX_DIAG_NAME,
  UNIX_DIAG_RQLEN,
  UNIX_DIAG_VFS,
  unixQuestion,
} from "../sockets/sock-diag.ts";

/** How long a list is used: the kernel takes longer to make one the more connections the host has. */
const FRESH_MS = 1000;
/** struct inet_diag_msg: where the local port and the local address are. */
const INET = { port: 4, host: 8, length: 72 } as const;
/** struct unix_diag_msg: where the state and the inode are. */
const UNIX = { state: 2, inode: 4, length: 16 } as const;
const TCP_LISTEN = 10;
/** struct inet_diag_sockopt (linux/inet_diag.h): the second byte of its bits. Linux 5.10. */
const INET_DIAG_SOCKOPT = 22;
const BIND_ADDRESS_NO_PORT = 0x01;

/** A listening socket. */
export interface Listener {
  readonly address: Address;
  /** Of the socket, not of its path. */
  readonly inode: bigint;
}

interface Sockets {
  /** Local ports and addresses of TCP, as {@link tcpKey}, and what connected UNIX sockets are named by. */
  readonly connected: Set<string>;
  /** What listening UNIX sockets are named by, by their inode. */
  readonly listeners: Map<number, string>;
}

interface Listing extends Sockets {
  /** Whether the kernel has told of all sockets of TCP, and of all UNIX sockets. */
  readonly knowsTcp: boolean;
  readonly knowsUnix: boolean;
}

export class Connections {
  readonly #sys: Native;
  #readAt = Number.NEGATIVE_INFINITY;
  #found: Listing = NOTHING_TOLD;
  #waiting: (() => void)[] | undefined;

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /** Calls `then` once the list is at most a second old: now, or in a later turn. */
  refresh(then: () => void): void {
    if (this.#waiting !== undefined) this.#waiting.push(then);
    else if (performance.now() - this.#readAt < FRESH_MS) then();
    else {
      this.#waiting = [then];
      void this.#read();
    }
  }

  /**
   * Whether a client is connected to this socket, by the latest list. True if the kernel does not tell: a server that
   * may be in use is not stopped.
   */
  to({ address, inode }: Listener): boolean {
    const { connected, listeners, knowsTcp, knowsUnix } = this.#found;
    if (address.family === "unix") return !knowsUnix || connected.has(listeners.get(Number(inode)) ?? "");
    if (!knowsTcp) return true;
    // sin_addr of a sockaddr_in, sin6_addr of a sockaddr_in6 (ip(7), ipv6(7)).
    const bytes = Buffer.from(encodeSockaddr(address));
    const host = address.family === "ipv4" ? bytes.subarray(4, 8) : bytes.subarray(8, 24);
    const isAny = host.every((byte) => byte === 0);
    return connected.has(tcpKey(familyNumber(address), bytes.subarray(2, 4), isAny ? NO_HOST : host));
  }

  async #read(): Promise<void> {
    const sockets: Sockets = { connected: new Set(), listeners: new Map() };
    const ask = async (...questions: Uint8Array[]): Promise<boolean> =>
      await askKernel(this.#sys, questions, (answer) => readConnections(answer, sockets));
    const knowsTcp = await ask(tcpQuestion(AF_INET, ESTABLISHED), tcpQuestion(AF_INET6, ESTABLISHED));
    const told = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN;
    const knowsUnix = await ask(unixQuestion(ESTABLISHED | LISTENING, told));
    this.#found = { ...sockets, knowsTcp, knowsUnix };
    this.#readAt = performance.now();
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    // Each in a turn of its own: there may be one for each berth, and one that fails keeps no other from being told.
    for (const then of waiting) setImmediate(then);
  }
}

const NOTHING_TOLD: Listing = { connected: new Set(), listeners: new Map(), knowsTcp: false, knowsUnix: false };
const NO_HOST = Buffer.alloc(0);

/** Bytes in the order of the network. Without a host: any of them. */
function tcpKey(family: number, port: Buffer, host: Buffer): string {
  return `${family} ${port.toString("latin1")}${host.toString("latin1")}`;
}

/** Reads the messages of one answer. */
function readConnections(answer: Buffer, sockets: Sockets): AnswerEnd {
  return readMessages(answer, (view, at, end) => {
    const family = view.getUint8(at);
    if (family === AF_UNIX) readUnix(answer, view, at, end, sockets);
    else if (end - at >= INET.length && !isTurnedAway(view, at, end)) {
      const { connected } = sockets;
      const port = answer.subarray(at + INET.port, at + INET.port + 2);
      connected.add(tcpKey(family, port, NO_HOST));
      const host = at + INET.host;
      connected.add(tcpKey(family, port, answer.subarray(host, host + (family === AF_INET ? 4 : 16))));
    }
  });
}

/** Whether it is that of a player who is turned away (drain/refusal/listener.ts). */
function isTurnedAway(view: DataView, start: number, stop: number): boolean {
  let is = false;
  readAttributes(view, start + INET.length, stop, (type, at, end) => {
    if (type === INET_DIAG_SOCKOPT && end - at >= 2) is = (view.getUint8(at + 1) & BIND_ADDRESS_NO_PORT) !== 0;
  });
  return is;
}

/**
 * An accepted connection has the file or the name of its listener (unix_stream_connect in net/unix/af_unix.c). One that
 * waits to be accepted is not listed: its listener's queue tells.
 */
function readUnix(answer: Buffer, view: DataView, start: number, stop: number, sockets: Sockets): void {
  if (stop - start < UNIX.length) return;
  let name: string | undefined;
  let file: string | undefined;
  let waiting = 0;
  readUnixAttributes(view, start, stop, (type, at, end) => {
    if (type === UNIX_DIAG_NAME) name = `name ${answer.toString("latin1", at, end)}`;
    // struct unix_diag_vfs: inode and device.
    else if (type === UNIX_DIAG_VFS) file = `file ${answer.toString("latin1", at, end)}`;
    else if (type === UNIX_DIAG_RQLEN && end - at >= 4) waiting = view.getUint32(at, isLittle);
  });
  const key = file ?? name;
  if (key === undefined) return;
  const isListener = view.getUint8(start + UNIX.state) === TCP_LISTEN;
  if (isListener) sockets.listeners.set(view.getUint32(start + UNIX.inode, isLittle), key);
  if (!isListener || waiting > 0) sockets.connected.add(key);
}
