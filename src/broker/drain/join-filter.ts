/**
 * The socket filter that drops joins (classic BPF, linux/filter.h). It goes before the server's own filter, as one
 * program, and says how long that is. So the next broker, too, can read the server's own filter from the socket. Pure.
 */
import type { JoinField, JoinShape } from "../../net/join-shapes.ts";

/** struct sock_filter: code, jt, jf, k. */
type Instruction = readonly [code: number, yes: number, no: number, value: number];

const SIZE = 8;
/** BPF_MAXINSNS. */
const MOST = 4096;
const LOAD_VALUE = 0x00;
const LOAD_WORD = 0x20;
const LOAD_BYTE = 0x30;
const LOAD_LENGTH = 0x80;
const AND = 0x54;
const IF_EQUAL = 0x15;
const IF_AT_LEAST = 0x35;
const RETURN = 0x06;

/** The first instruction of a filter of the broker: it loads this value, which nothing uses. */
const MARK = 0x62727468;
/** A TCP listener's filter sees segments from their header on (tcp_filter); its byte of flags. */
const TCP_FLAGS_AT = 13;
const SYN = 0x02;
const SYN_OR_ACK = 0x12;
/** A UDP socket's filter sees datagrams from their header on. */
const UDP_HEADER = 8;

const drop: Instruction = [RETURN, 0, 0, 0];
const keep: Instruction = [RETURN, 0, 0, 0xffffffff];

/** Drops what opens a connection: SYN without ACK. */
const synChecks: readonly Instruction[] = [
  [LOAD_BYTE, 0, 0, TCP_FLAGS_AT],
  [AND, 0, 0, SYN_OR_ACK],
  [IF_EQUAL, 0, 1, SYN],
  drop,
];

/** What a socket's filter is to drop. */
export type Joins = "connections" | readonly JoinShape[];

/** The program; undefined if it is longer than the kernel takes. `own`: the server's, nothing if it has none. */
export function joinFilter(joins: Joins, own: Uint8Array): Uint8Array | undefined {
  const checks = joins === "connections" ? synChecks : joins.flatMap(shapeChecks);
  const head: readonly Instruction[] = [
    [LOAD_VALUE, 0, 0, MARK],
    [LOAD_VALUE, 0, 0, own.length / SIZE],
    ...checks,
    [LOAD_VALUE, 0, 0, 0], // a program begins with 0
  ];
  const rest = own.length === 0 ? encode([keep]) : own;
  const program = Buffer.concat([encode(head), rest]);
  return program.length / SIZE > MOST ? undefined : program;
}

/** The server's own filter in that of a socket: nothing if it has none. Undefined: the broker's is not there. */
export function ownFilter(program: Uint8Array): Uint8Array | undefined {
  const at = (index: number): Instruction | undefined => decode(program, index);
  if (!isLoad(at(0)) || at(0)?.[3] !== MARK || !isLoad(at(1))) return undefined;
  const length = (at(1)?.[3] ?? 0) * SIZE;
  return length > program.length ? undefined : program.subarray(program.length - length);
}

/** Drops what has the shape; goes on behind itself with the rest. */
function shapeChecks(shape: JoinShape): Instruction[] {
  const least = UDP_HEADER + Math.max(...shape.map(({ offset, size }) => offset + size));
  const body = shape.flatMap(fieldChecks);
  // A load beyond the end drops the datagram, so its length comes first.
  const checks: Instruction[] = [[LOAD_LENGTH, 0, 0, 0], [IF_AT_LEAST, 0, 0, least], ...body, drop];
  return checks.map(([code, yes, no, value], index) => {
    const isCheck = code === IF_EQUAL || code === IF_AT_LEAST;
    return [code, yes, isCheck ? checks.length - index - 1 : no, value];
  });
}

function fieldChecks({ offset, size, value, mask }: JoinField): Instruction[] {
  return [
    [size === 1 ? LOAD_BYTE : LOAD_WORD, 0, 0, UDP_HEADER + offset],
    ...(mask === undefined ? [] : [[AND, 0, 0, mask] as const]),
    [IF_EQUAL, 0, 0, value],
  ];
}

function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * SIZE);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  program.forEach(([code, yes, no, value], index) => {
    view.setUint16(index * SIZE, code, IS_LITTLE);
    view.setUint8(index * SIZE + 2, yes);
    view.setUint8(index * SIZE + 3, no);
    view.setUint32(index * SIZE + 4, value, IS_LITTLE);
  });
  return bytes;
}

function decode(program: Uint8Array, index: number): Instruction | undefined {
  if ((index + 1) * SIZE > program.length) return undefined;
  const view = new DataView(program.buffer, program.byteOffset + index * SIZE, SIZE);
  return [view.getUint16(0, IS_LITTLE), view.getUint8(2), view.getUint8(3), view.getUint32(4, IS_LITTLE)];
}

function isLoad(instruction: Instruction | undefined): boolean {
  return instruction?.[0] === LOAD_VALUE;
}

/** The kernel has integers in the machine's own order. */
const IS_LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
