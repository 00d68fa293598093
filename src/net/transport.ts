/**
 * The table of what a berth can listen on: how each kind is written, and what the kernel calls it. To add one, see
 * CONTRIBUTING.md. Pure.
 */
import { IPPROTO_MPTCP, IPPROTO_TCP, IPPROTO_UDP } from "./socket-constants.ts";

/** What a socket carries. `stream` and `seqpacket` listen; `datagram` is bound. */
export type SocketKind = "stream" | "datagram" | "seqpacket";

/** How the rest of an address is written: `HOST:PORT`, or a path or `@name`. */
type Form = "inet" | "unix";

interface Transport {
  readonly kind: SocketKind;
  readonly form: Form;
  /** What SO_PROTOCOL says of it. Go asks for MPTCP by default, and a server that speaks it speaks TCP too. */
  readonly protocols: readonly number[];
}

/** By the part of an address before `://`. */
const transports = {
  tcp: { kind: "stream", form: "inet", protocols: [IPPROTO_TCP, IPPROTO_MPTCP] },
  udp: { kind: "datagram", form: "inet", protocols: [IPPROTO_UDP] },
  unix: { kind: "stream", form: "unix", protocols: [0] },
  "unix-dgram": { kind: "datagram", form: "unix", protocols: [0] },
  "unix-seqpacket": { kind: "seqpacket", form: "unix", protocols: [0] },
} as const satisfies Readonly<Record<string, Transport>>;

const rows: readonly (readonly [string, Transport])[] = Object.entries<Transport>(transports);

/** Every scheme, for messages. */
export const SCHEMES: readonly string[] = rows.map(([scheme]) => scheme);

/** What a scheme stands for; undefined when there is no such scheme. */
export function transportOf(scheme: string): Transport | undefined {
  return rows.find(([name]) => name === scheme)?.[1];
}

/** The scheme that an address of this kind and form is written with. */
export function schemeOf(kind: SocketKind, form: Form): string {
  return find(kind, form)?.[0] ?? kind;
}

/**
 * Whether a socket of this kind, form and protocol (SO_PROTOCOL) is one that a berth can have: no SCTP, no UDP-Lite.
 */
export function isKnownProtocol(kind: SocketKind, form: Form, protocol: number): boolean {
  return find(kind, form)?.[1].protocols.includes(protocol) ?? false;
}

const protocolNames: Readonly<Record<number, string>> = {
  1: "ICMP",
  58: "ICMPv6",
  132: "SCTP",
  136: "UDP-Lite",
  256: "SMC",
};

/** The name of a protocol (SO_PROTOCOL) that no berth can have, for messages. */
export function protocolName(protocol: number): string {
  return protocolNames[protocol] ?? `protocol ${protocol}`;
}

function find(kind: SocketKind, form: Form): (typeof rows)[number] | undefined {
  return rows.find(([, row]) => row.kind === kind && row.form === form);
}

// Socket types of Linux; the same on every architecture Node runs on, MIPS excepted.
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;

const types: Readonly<Record<SocketKind, number>> = {
  stream: SOCK_STREAM,
  datagram: SOCK_DGRAM,
  seqpacket: SOCK_SEQPACKET,
};
const kinds: readonly SocketKind[] = ["stream", "datagram", "seqpacket"];

/** The SOCK_… number of a kind. */
export function typeNumber(kind: SocketKind): number {
  return types[kind];
}

/** The kind of a SOCK_… number; undefined for any other, -errno among them. */
export function kindOfType(type: number): SocketKind | undefined {
  return kinds.find((kind) => types[kind] === type);
}
