/**
 * The program of eBPF that copies the first bytes of connections which nobody has accepted yet. The kernel runs it for
 * each segment of a listening socket, and of connections that it gave the program to; it lets every segment pass. Only
 * segments with data are copied, and only while the ring has room. Pure.
 *
 * The kernel also runs it for a forged segment of no connection, which it looks up to the listening socket (tcp_v4_rcv
 * in net/ipv4/tcp_ipv4.c). So nothing is copied that is not a connection's yet: also not the data of a segment that
 * completes the handshake, which nothing here tells from a forged one.
 */
import { AF_INET, AF_INET6 } from "./address.ts";
import { FROM_NETWORK_HEADER, HELPERS, IPV4_PROTOCOL, PACKET, Program } from "./bpf-program.ts";

/** Where a record has what. The numbers are the host's, but for the header's own, which are the network's. */
export const RECORD = {
  /** 4 bytes: how much data the segment had. */
  length: 0,
  /** 4 bytes, of the header. */
  sequence: 4,
  /** 8 bytes: the connection's (SO_COOKIE). */
  cookie: 8,
  /** 28 bytes: who sent it, as a struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)). */
  sender: 16,
  data: 48,
} as const;

/** How much of a segment is copied at most. Most openings are much shorter. */
export const MOST_DATA = 1024;
const USUAL_DATA = 256;

/** A power of two. Each sleeping server has a ring for each socket. */
export const RING_BYTES = 65_536;

const PASS = -1;
/** Registers that calls leave alone. */
const [SEGMENT, DATA_LENGTH, HEADER_LENGTH, COPY] = [6, 7, 8, 9] as const;
const STACK_END = 10;
/** The header's first bytes, on the stack: ports, sequence, acknowledgement, length and flags. */
const HEADER = -16;
const HEADER_BYTES = 16;
const SYN = 0x02;

/** `ring`: the map's descriptor. `listener`: the listening socket's cookie (SO_COOKIE in socket(7)). */
export function arrivalProgram(ring: number, listener: bigint): Uint8Array {
  const program = new Program();
  readHeader(program);
  program.copy(1, SEGMENT).call(HELPERS.socketCookie).setLong(1, listener).jumpIfBy(0, "equal", 1, "pass");
  program.jumpIf(DATA_LENGTH, "above", USUAL_DATA, "long").label("usual");
  copySegment(program, ring, "usual", USUAL_DATA, undefined);
  program.label("long").jumpIf(DATA_LENGTH, "above", MOST_DATA, "too long");
  copySegment(program, ring, "long", MOST_DATA, undefined);
  program.label("too long");
  copySegment(program, ring, "too long", MOST_DATA, MOST_DATA);
  return program.label("pass").set(0, PASS).exit().encode();
}

/** Passes what has no data. */
function readHeader(program: Program): void {
  program.copy(SEGMENT, 1).load(4, DATA_LENGTH, SEGMENT, PACKET.length).set(2, 0).copy(3, STACK_END);
  program.compute(3, "add", HEADER).set(4, HEADER_BYTES).call(HELPERS.loadBytes).jumpIf(0, "unequal", 0, "pass");
  program.load(1, 1, STACK_END, HEADER + 13).jumpIf(1, "any bit of", SYN, "pass");
  // Its upper four bits are the header's length in words.
  program.load(1, HEADER_LENGTH, STACK_END, HEADER + 12).compute(HEADER_LENGTH, "and", 0xf0);
  program.compute(HEADER_LENGTH, "shift right", 2).jumpIfBy(HEADER_LENGTH, "at least", DATA_LENGTH, "pass");
  program.computeBy(DATA_LENGTH, "subtract", HEADER_LENGTH).jumpIf(DATA_LENGTH, "below", 1, "pass");
}

/** A record has a fixed size, and `room` of it for data. `length`: how much is copied, if not all. */
function copySegment(program: Program, ring: number, name: string, room: number, length: number | undefined): void {
  program.reserve(ring, RECORD.data + room, "pass").copy(COPY, 0);
  program.store(4, COPY, RECORD.length, DATA_LENGTH);
  program.load(4, 1, STACK_END, HEADER + 4).store(4, COPY, RECORD.sequence, 1);
  program.copy(1, SEGMENT).call(HELPERS.socketCookie).store(8, COPY, RECORD.cookie, 0);
  for (const at of [0, 8, 16, 24]) program.storeNumber(8, COPY, RECORD.sender + at, 0);
  program.load(2, 1, STACK_END, HEADER).store(2, COPY, RECORD.sender + 2, 1);
  program.load(4, 1, SEGMENT, PACKET.protocol).jumpIf(1, "equal", IPV4_PROTOCOL, `${name}: IPv4`);
  program.storeNumber(2, COPY, RECORD.sender, AF_INET6);
  loadAddress(program, { at: 8, bytes: 16, to: RECORD.sender + 8 });
  program.jump(`${name}: data`).label(`${name}: IPv4`).storeNumber(2, COPY, RECORD.sender, AF_INET);
  loadAddress(program, { at: 12, bytes: 4, to: RECORD.sender + 4 });
  program.label(`${name}: data`).copy(1, SEGMENT).copy(2, HEADER_LENGTH).copy(3, COPY).compute(3, "add", RECORD.data);
  if (length === undefined) program.copy(4, DATA_LENGTH);
  else program.set(4, length);
  program.call(HELPERS.loadBytes).copy(1, COPY).set(2, 0).jumpIf(0, "unequal", 0, `${name}: discard`);
  program.call(HELPERS.ringSubmit).jump("pass");
  program.label(`${name}: discard`).call(HELPERS.ringDiscard).jump("pass");
}

/** `at`: in the header of the network layer. */
function loadAddress(program: Program, { at, bytes, to }: Readonly<Record<"at" | "bytes" | "to", number>>): void {
  program.copy(1, SEGMENT).set(2, at).copy(3, COPY).compute(3, "add", to).set(4, bytes);
  program.set(5, FROM_NETWORK_HEADER).call(HELPERS.loadBytesRelative);
}
