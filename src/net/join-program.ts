/**
 * The program of eBPF that drops the joins of some UDP sockets, and copies the beginning of each into a ring. The
 * kernel runs it for what comes for sockets, after the firewall and before their own filters, from the header of the
 * network layer on. What is no join of these sockets passes. A join is dropped without a copy where the ring is full,
 * and where it was sent to many hosts: each of them would answer. Pure.
 */
import { AF_INET, AF_INET6 } from "./address.ts";
import { HELPERS, IPV4_PROTOCOL, PACKET, Program } from "./bpf-program.ts";
import type { JoinField, JoinShape } from "./join-shapes.ts";

/** Where a record has what. The numbers are the host's, but for the port and the address. */
export const JOIN_RECORD = {
  /** 4 bytes: how long the datagram was. */
  length: 0,
  /** 8 bytes: the socket's (SO_COOKIE in socket(7)). */
  cookie: 8,
  /** 28 bytes: who sent it, as a struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)). */
  sender: 16,
  data: 48,
} as const;

/** How much of a join is copied. */
export const JOIN_BYTES = 64;

/** A power of two, and pages. More than a hundred joins have room. */
export const JOIN_RING_BYTES = 16_384;

const [DROP, PASS] = [0, 1] as const;
/** Registers that calls leave alone. */
const [DATAGRAM, DATA_LENGTH, DATA_AT, COPY] = [6, 7, 8, 9] as const;
const STACK_END = 10;
/** What was read last, on the stack. */
const READ = -8;
const COOKIE = -16;
/** The length of the header of IPv6. One with options in further headers is not looked at. */
const IPV6_BYTES = 40;
const UDP_BYTES = 8;
const UDP = 17;
/** PACKET_HOST (packet(7)): neither by broadcast nor by multicast. */
const TO_THIS_HOST = 0;

/** `ring`: the map's descriptor. `cookies`: those of the sockets. */
export function joinProgram(ring: number, cookies: readonly bigint[], shapes: readonly JoinShape[]): Uint8Array {
  const program = new Program().copy(DATAGRAM, 1).call(HELPERS.socketCookie).store(8, STACK_END, COOKIE, 0);
  for (const cookie of cookies) program.setLong(1, cookie).jumpIfBy(0, "equal", 1, "ours");
  program.jump("pass").label("ours");
  findData(program);
  shapes.forEach((shape, index) => {
    checkShape(program, shape, `after ${index}`);
    program.jump("join").label(`after ${index}`);
  });
  program.jump("pass").label("join");
  program.load(4, 1, DATAGRAM, PACKET.type).jumpIf(1, "unequal", TO_THIS_HOST, "drop");
  copyJoin(program, ring);
  program.label("drop").set(0, DROP).exit();
  return program.label("pass").set(0, PASS).exit().encode();
}

/** Where the datagram's data begins, and how long it is. */
function findData(program: Program): void {
  program.load(4, 1, DATAGRAM, PACKET.protocol).jumpIf(1, "equal", IPV4_PROTOCOL, "IPv4");
  read(program, 1, (at) => at.set(2, 6));
  program.load(1, 1, STACK_END, READ).jumpIf(1, "unequal", UDP, "pass");
  program
    .set(DATA_AT, IPV6_BYTES + UDP_BYTES)
    .jump("found")
    .label("IPv4");
  read(program, 1, (at) => at.set(2, 0));
  // The lower four bits are the header's length in words.
  program.load(1, DATA_AT, STACK_END, READ).compute(DATA_AT, "and", 0x0f).compute(DATA_AT, "shift left", 2);
  program.compute(DATA_AT, "add", UDP_BYTES).label("found");
  program.load(4, DATA_LENGTH, DATAGRAM, PACKET.length).jumpIfBy(DATA_AT, "at least", DATA_LENGTH, "pass");
  program.computeBy(DATA_LENGTH, "subtract", DATA_AT).jumpIf(DATA_LENGTH, "below", 1, "pass");
}

/** Goes to the label unless the datagram has the shape. */
function checkShape(program: Program, shape: JoinShape, otherwise: string): void {
  const least = Math.max(...shape.map(({ offset, size }) => offset + size));
  program.jumpIf(DATA_LENGTH, "below", least, otherwise);
  for (const field of shape) checkField(program, field, otherwise);
}

function checkField(program: Program, { offset, size, value, mask }: JoinField, otherwise: string): void {
  read(program, size, (at) => at.copy(2, DATA_AT).compute(2, "add", offset));
  program.load(size, 1, STACK_END, READ);
  if (size === 4) program.swapFromNetwork(1, 4);
  if (mask !== undefined) program.compute(1, "and", mask);
  // A number in an instruction is signed, so it would not equal one of 32 bits.
  program.setLong(2, BigInt(value)).jumpIfBy(1, "unequal", 2, otherwise);
}

/** To the stack. `place` sets r2, to where in the packet. */
function read(program: Program, size: number, place: (program: Program) => Program): void {
  place(program.copy(1, DATAGRAM)).copy(3, STACK_END).compute(3, "add", READ).set(4, size);
  program.call(HELPERS.loadBytes).jumpIf(0, "unequal", 0, "pass");
}

function copyJoin(program: Program, ring: number): void {
  program.reserve(ring, JOIN_RECORD.data + JOIN_BYTES, "drop").copy(COPY, 0);
  program.store(4, COPY, JOIN_RECORD.length, DATA_LENGTH);
  program.load(8, 1, STACK_END, COOKIE).store(8, COPY, JOIN_RECORD.cookie, 1);
  for (const at of [0, 8, 16, 24]) program.storeNumber(8, COPY, JOIN_RECORD.sender + at, 0);
  // The source's port is the first of the header of UDP.
  copyBytes(program, JOIN_RECORD.sender + 2, 2, (at) => at.copy(2, DATA_AT).compute(2, "subtract", UDP_BYTES));
  program.load(4, 1, DATAGRAM, PACKET.protocol).jumpIf(1, "equal", IPV4_PROTOCOL, "copy IPv4");
  program.storeNumber(2, COPY, JOIN_RECORD.sender, AF_INET6);
  copyBytes(program, JOIN_RECORD.sender + 8, 16, (at) => at.set(2, 8));
  // The scope, which counts for link-local addresses only (ipv6(7)).
  program.load(4, 1, DATAGRAM, PACKET.interface).store(4, COPY, JOIN_RECORD.sender + 24, 1);
  program.jump("copy data").label("copy IPv4").storeNumber(2, COPY, JOIN_RECORD.sender, AF_INET);
  copyBytes(program, JOIN_RECORD.sender + 4, 4, (at) => at.set(2, 12));
  program.label("copy data").copy(4, DATA_LENGTH).jumpIf(4, "below", JOIN_BYTES, "copy short").set(4, JOIN_BYTES);
  program.label("copy short").copy(1, DATAGRAM).copy(2, DATA_AT).copy(3, COPY).compute(3, "add", JOIN_RECORD.data);
  program.call(HELPERS.loadBytes).jumpIf(0, "unequal", 0, "discard");
  program.copy(1, COPY).set(2, 0).call(HELPERS.ringSubmit).jump("drop");
  program.label("discard").copy(1, COPY).set(2, 0).call(HELPERS.ringDiscard);
}

/** To the record. `place` as for {@link read}. */
function copyBytes(program: Program, to: number, size: number, place: (program: Program) => Program): void {
  place(program.copy(1, DATAGRAM)).copy(3, COPY).compute(3, "add", to).set(4, size);
  program.call(HELPERS.loadBytes).jumpIf(0, "unequal", 0, "discard");
}
