/**
 * Tells players who join at UDP sockets of a server that drains why they do not get in. The kernel drops their joins
 * and copies the beginning of each (net/join-program.ts). So nothing is read from the sockets, which the server reads.
 */
import { endianness } from "node:os";
import { check } from "../../errors.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { AF_INET, AF_INET6, encodeSockaddr } from "../../net/address.ts";
import { JOIN_BYTES, JOIN_RECORD, JOIN_RING_BYTES } from "../../net/join-program.ts";
import { SO_DOMAIN, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketCookie, socketOption } from "../../net/socket-queries.ts";
import type { DatagramCodec } from "../interfaces/codecs.ts";
import type { QueryLimit } from "../senders/query-limit.ts";
import { senderOf } from "../senders/sender.ts";

/** How many are read before others have their turn. */
const IN_A_ROW = 64;
const isLittle = endianness() === "LE";
/** By the family: sockaddr_in and sockaddr_in6. */
const SOCKADDR_BYTES: ReadonlyMap<number, number> = new Map([
  [AF_INET, 16],
  [AF_INET6, 28],
]);

/** A join that the kernel has dropped. */
export interface DroppedJoin {
  /** The socket's (SO_COOKIE). */
  readonly cookie: bigint;
  readonly length: number;
  readonly beginning: Uint8Array;
  /** Who sent it: a struct sockaddr_in or sockaddr_in6. */
  readonly sockaddr: Uint8Array;
}

/** Reads a record of the program's. Undefined if it is none. It makes no text of the address: a flood has many. */
export function readJoin(record: Uint8Array): DroppedJoin | undefined {
  if (record.length < JOIN_RECORD.data + JOIN_BYTES) return undefined;
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const length = view.getUint32(JOIN_RECORD.length, isLittle);
  const bytesOfSender = SOCKADDR_BYTES.get(view.getUint16(JOIN_RECORD.sender, isLittle));
  if (bytesOfSender === undefined) return undefined;
  return {
    cookie: view.getBigUint64(JOIN_RECORD.cookie, isLittle),
    length,
    beginning: record.subarray(JOIN_RECORD.data, JOIN_RECORD.data + Math.min(length, JOIN_BYTES)),
    sockaddr: record.subarray(JOIN_RECORD.sender, JOIN_RECORD.sender + bytesOfSender),
  };
}

/** As a socket of IPv6 has it. */
function mapped(sockaddr: Uint8Array): Uint8Array {
  const sender = senderOf(sockaddr);
  if (sender === undefined || sender.length === 28) return sockaddr;
  return encodeSockaddr({ family: "ipv6", host: `::ffff:${sender.host}`, port: sender.port });
}

export interface RefusedJoinsContext {
  readonly sys: Native;
  readonly codec: DatagramCodec;
  readonly refusals: QueryLimit;
  /** What players read, at this moment. */
  readonly text: () => string;
}

interface Socket {
  readonly fd: number;
  readonly isSix: boolean;
}

export class RefusedJoins {
  readonly #context: RefusedJoinsContext;
  readonly #byCookie: ReadonlyMap<bigint, Socket>;
  readonly #ring: InstanceType<Native["BpfRing"]>;
  readonly #poll: Poll;
  readonly #record = Buffer.alloc(JOIN_RECORD.data + JOIN_BYTES);

  /** All descriptors are borrowed. */
  constructor(ring: number, fds: readonly number[], context: RefusedJoinsContext) {
    const { sys } = context;
    this.#context = context;
    this.#byCookie = new Map(
      fds.map((fd) => {
        const isSix = socketOption(fd, SOL_SOCKET, SO_DOMAIN, sys) === AF_INET6;
        return [socketCookie(fd, sys), { fd, isSix }];
      }),
    );
    this.#ring = new sys.BpfRing(ring, JOIN_RING_BYTES);
    check("mmap", this.#ring.status);
    this.#poll = new sys.Poll(ring, () => this.#read(), true);
    check("poll", this.#poll.start(READABLE));
  }

  close(): void {
    this.#poll.close();
    this.#ring.close();
  }

  #read(): void {
    for (let read = 0; read < IN_A_ROW; read++) {
      const length = this.#ring.read(this.#record);
      if (length < 0) return;
      const join = readJoin(this.#record.subarray(0, length));
      if (join !== undefined) this.#answer(join);
    }
  }

  #answer({ cookie, length, beginning, sockaddr }: DroppedJoin): void {
    const { sys, codec, refusals, text } = this.#context;
    const socket = this.#byCookie.get(cookie);
    if (socket === undefined || !refusals.allows(socket.fd, sockaddr, performance.now())) return;
    const answer = codec.refuse(beginning, length, text());
    if (answer === undefined || answer.length > length) return;
    sys.sendto(socket.fd, answer, socket.isSix ? mapped(sockaddr) : sockaddr);
  }
}
