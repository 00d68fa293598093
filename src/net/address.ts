/**
 * Socket addresses in three forms: the text of the configuration (`udp://[::]:27960`), the structure that the program
 * uses, and the kernel's `struct sockaddr` (ip(7), ipv6(7), unix(7)). Pure: it opens and resolves nothing.
 */
import { isIPv4, isIPv6 } from "node:net";
import { endianness } from "node:os";
import { SCHEMES, type SocketKind, schemeOf, transportOf } from "./transport.ts";

/** An IPv4 or IPv6 endpoint. `host` is a literal address; `scope` the zone of a link-local one: index or name. */
export interface InetAddress {
  readonly family: "ipv4" | "ipv6";
  readonly host: string;
  readonly port: number;
  readonly scope?: string;
}

/** A UNIX socket: a filesystem path, or a name in the abstract namespace (then `path` lacks the leading NUL or `@`). */
export interface UnixAddress {
  readonly family: "unix";
  readonly path: string;
  readonly abstract: boolean;
}

export type Address = InetAddress | UnixAddress;

/** One thing to listen on: where, and as what. `dualStack` is the scheme's `*` host: [::] without IPV6_V6ONLY. */
export interface ListenAddress {
  readonly kind: SocketKind;
  readonly address: Address;
  readonly dualStack: boolean;
}

/** Whether it is a UDP socket: UNIX sockets have datagrams too. */
export function isUdp({ kind, address }: ListenAddress): boolean {
  return kind === "datagram" && address.family !== "unix";
}

/** sockaddr_un.sun_path holds 108 bytes; a pathname needs its NUL, an abstract name its leading NUL (unix(7)). */
export const UNIX_PATH_MAX = 107;

/** Reads one `listen` entry. Returns the address, or a sentence that says what is wrong with it. */
export function parseListenAddress(text: string): ListenAddress | string {
  const split = text.indexOf("://");
  const scheme = split < 0 ? "" : text.slice(0, split);
  const transport = transportOf(scheme);
  if (transport === undefined) {
    const schemes = SCHEMES.map((name) => `${name}://`);
    return `"${text}" does not begin with ${schemes.slice(0, -1).join(" ")} or ${schemes.at(-1)}`;
  }
  const rest = text.slice(split + 3);
  return transport.form === "inet" ? parseInet(text, rest, transport.kind) : parseUnix(text, rest, transport.kind);
}

function parseInet(text: string, rest: string, kind: SocketKind): ListenAddress | string {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5}|[1-9]\d{5,})$/.exec(rest);
  if (match === null)
    return `"${text}" does not end in ADDRESS:PORT; put an IPv6 address in brackets: udp://[::]:27960`;
  const port = Number(match[3]);
  if (port > 65535) return `"${text}": port ${match[3]} is above 65535`;
  const bracketed = match[1];
  if (bracketed !== undefined) {
    const percent = bracketed.indexOf("%");
    const host = percent < 0 ? bracketed : bracketed.slice(0, percent);
    const scope = percent < 0 ? undefined : bracketed.slice(percent + 1);
    // An interface's name has at most 15 bytes (IFNAMSIZ), an index fewer.
    if (scope !== undefined && !/^[^\s%/:]{1,15}$/.test(scope))
      return `"${text}": "${scope}" after the % is not the name of an interface`;
    if (!isIPv6(host)) return `"${text}": "${bracketed}" in brackets is not an IPv6 address`;
    const address: InetAddress = {
      family: "ipv6",
      host: canonicalIPv6(host),
      port,
      ...(scope === undefined ? {} : { scope }),
    };
    return { kind, address, dualStack: false };
  }
  const host = match[2] ?? "";
  if (host === "*") return { kind, address: { family: "ipv6", host: "::", port }, dualStack: true };
  if (!isIPv4(host)) return `"${text}": "${host}" is not an IPv4 address, [IPv6 address] or *; names are not looked up`;
  return { kind, address: { family: "ipv4", host, port }, dualStack: false };
}

function parseUnix(text: string, rest: string, kind: SocketKind): ListenAddress | string {
  const abstract = rest.startsWith("@");
  const path = abstract ? rest.slice(1) : rest;
  if (path === "") return `"${text}" has no path`;
  if (!abstract && !path.startsWith("/")) return `"${text}" is neither an absolute path nor an abstract @name`;
  if (path.includes("\0")) return `"${text}" contains a NUL byte`;
  const bytes = Buffer.byteLength(path);
  if (bytes > UNIX_PATH_MAX) return `"${text}" is ${bytes} bytes long; a UNIX socket address holds ${UNIX_PATH_MAX}`;
  return { kind, address: { family: "unix", path, abstract }, dualStack: false };
}

/** The shortest spelling of an IPv6 address (RFC 5952), so that two spellings of one address compare equal. */
export function canonicalIPv6(host: string): string {
  return new URL(`http://[${host}]/`).hostname.slice(1, -1);
}

/**
 * The IPv4 address inside a canonical IPv4-mapped IPv6 one (RFC 4291, 2.5.5.2), `::ffff:7f00:1`; undefined for others.
 */
export function mappedIPv4(host: string): string | undefined {
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(host);
  if (mapped === null) return undefined;
  const [high, low] = [Number.parseInt(mapped[1] ?? "", 16), Number.parseInt(mapped[2] ?? "", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** `127.0.0.1:77`, `[::]:77`, `/run/a.sock` or `@name`: what people and `{address:NAME}` see. */
export function formatAddress(address: Address): string {
  if (address.family === "unix") return address.abstract ? `@${address.path}` : address.path;
  if (address.family === "ipv4") return `${address.host}:${address.port}`;
  return `[${address.host}${address.scope === undefined ? "" : `%${address.scope}`}]:${address.port}`;
}

/** How an address is written: see transport.ts. */
export function formOf(address: Address): "inet" | "unix" {
  return address.family === "unix" ? "unix" : "inet";
}

/** The path of a UNIX socket in the file system; undefined for an abstract name and for an IP address. */
export function pathOf(address: Address): string | undefined {
  return address.family === "unix" && !address.abstract ? address.path : undefined;
}

/** The text that {@link parseListenAddress} reads back to the same value. */
export function formatListenAddress(listen: ListenAddress): string {
  const { address } = listen;
  const where = listen.dualStack && address.family === "ipv6" ? `*:${address.port}` : formatAddress(address);
  return `${schemeOf(listen.kind, formOf(address))}://${where}`;
}

// Address families of Linux; the same on every architecture Node runs on, MIPS excepted.
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;

/** The AF_… number of an address. */
export function familyNumber(address: Address): number {
  return address.family === "unix" ? AF_UNIX : address.family === "ipv4" ? AF_INET : AF_INET6;
}

const little = endianness() === "LE";

/**
 * The `struct sockaddr_in`, `sockaddr_in6` or `sockaddr_un` of an address. A scope given by name must already have
 * been turned into its interface index: `scopeIndex`.
 */
export function encodeSockaddr(address: Address, scopeIndex = 0): Buffer {
  if (address.family === "unix") {
    const path = Buffer.from(address.path);
    // A pathname ends in NUL; an abstract name begins with one and is exactly as long as it says (unix(7)).
    const bytes = Buffer.alloc(2 + path.length + 1);
    writeFamily(bytes, AF_UNIX);
    path.copy(bytes, address.abstract ? 3 : 2);
    return bytes;
  }
  if (address.family === "ipv4") {
    const bytes = Buffer.alloc(16);
    writeFamily(bytes, AF_INET);
    bytes.writeUInt16BE(address.port, 2);
    address.host.split(".").forEach((part, index) => {
      bytes[4 + index] = Number(part);
    });
    return bytes;
  }
  const bytes = Buffer.alloc(28);
  writeFamily(bytes, AF_INET6);
  bytes.writeUInt16BE(address.port, 2);
  expandIPv6(address.host).forEach((group, index) => {
    bytes.writeUInt16BE(group, 8 + index * 2);
  });
  if (little) bytes.writeUInt32LE(scopeIndex, 24);
  else bytes.writeUInt32BE(scopeIndex, 24);
  return bytes;
}

/** Reads a sockaddr; undefined for an unnamed UNIX socket, another family, or too few bytes for the family. */
export function decodeSockaddr(bytes: Uint8Array): Address | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < 2) return undefined;
  const family = little ? view.readUInt16LE(0) : view.readUInt16BE(0);
  if (family === AF_INET && view.length >= 8) {
    return { family: "ipv4", host: [...view.subarray(4, 8)].join("."), port: view.readUInt16BE(2) };
  }
  if (family === AF_INET6 && view.length >= 24) {
    const groups = Array.from({ length: 8 }, (_, index) => view.readUInt16BE(8 + index * 2).toString(16));
    const scope = view.length < 28 ? 0 : little ? view.readUInt32LE(24) : view.readUInt32BE(24);
    const host = canonicalIPv6(groups.join(":"));
    return { family: "ipv6", host, port: view.readUInt16BE(2), ...(scope === 0 ? {} : { scope: String(scope) }) };
  }
  if (family === AF_UNIX && view.length > 2) {
    if (view[2] === 0)
      return view.length === 3 ? undefined : { family: "unix", path: view.toString("utf8", 3), abstract: true };
    const end = view.indexOf(0, 2);
    return { family: "unix", path: view.toString("utf8", 2, end < 0 ? view.length : end), abstract: false };
  }
  return undefined;
}

function writeFamily(bytes: Buffer, family: number): void {
  if (little) bytes.writeUInt16LE(family, 0);
  else bytes.writeUInt16BE(family, 0);
}

function expandIPv6(host: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host);
  const text =
    dotted === null
      ? host
      : `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`;
  const [head = "", tail] = text.split("::", 2);
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  if (tail === undefined) return groups(head);
  const front = groups(head);
  const back = groups(tail);
  return [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
}
