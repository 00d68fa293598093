/**
 * The table of socket options: key, reader, the sockets it applies to, and what it sets in the kernel, when. Pure.
 * To add an option, add a line to {@link SocketOptions}, a row below and a row in docs/configuration.md:
 * CONTRIBUTING.md.
 */
import type { ListenAddress } from "../../net/address.ts";
import { IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET } from "../../net/socket-constants.ts";
import { gid, uid } from "../toml/account-readers.ts";
import { duration, flag, integer, matching, octal, type Reader, size } from "../toml/reader.ts";
import type { Key } from "../toml/section.ts";

/** Options of a `[sockets.NAME]` section. An absent one leaves the kernel's default. */
export interface SocketOptions {
  /** The kernel cuts it to net.core.somaxconn. */
  readonly backlog: number;
  /** In bytes. */
  readonly receiveBuffer?: number;
  readonly sendBuffer?: number;
  readonly freebind?: boolean;
  /** Of `[…]` addresses; `*` is always dual stack. */
  readonly v6only: boolean;
  readonly reusePort?: boolean;
  readonly device?: string;
  readonly broadcast?: boolean;
  /** This, `noDelay` and `deferAccept` (seconds) are inherited by accepted connections. */
  readonly keepAlive?: boolean;
  readonly noDelay?: boolean;
  readonly deferAccept?: number;
  readonly tos?: number;
  readonly priority?: number;
  readonly mark?: number;
  readonly packetInfo?: boolean;
  /** Permission bits of a unix socket's path. */
  readonly mode: number;
  /** Owner of a unix socket's path, resolved to ids. */
  readonly owner?: number;
  readonly group?: number;
}

/** An option of setsockopt(2). */
export interface KernelOption {
  /** As the manual pages call it. */
  readonly name: string;
  readonly level: number;
  readonly option: number;
  /** How many ints its value has. */
  readonly words: number;
  /**
   * Of a buffer, whose size the kernel reports doubled: the option that net.core.[rw]mem_max does not bound
   * (socket(7)).
   */
  readonly force?: number;
}

/** The sockets an option applies to: a predicate, and the words for it. */
interface AppliesTo {
  readonly words: string;
  test(listen: ListenAddress): boolean;
}

/**
 * When an option can be set. `unbound`: only before bind(2). `bind`: before bind(2), and on a socket of a .socket unit
 * later too; it tells a new socket from the one held. `any`: at any time. `listen`: by listen(2). `path`: on the path.
 */
type SettableWhen = "unbound" | "bind" | "any" | "listen" | "path";

/** One thing that an option sets in the kernel. */
interface Setting {
  readonly kernel: KernelOption;
  /** Absent: on every socket that the option applies to. */
  on?(listen: ListenAddress, options: SocketOptions): boolean;
}

/** A row of the table. */
export interface SocketOption<T> extends Key<T> {
  readonly when: SettableWhen;
  /** Absent: to all. */
  readonly fit?: AppliesTo;
  readonly fallback?: T;
  readonly sets: readonly Setting[];
}

const isInet = (listen: ListenAddress): boolean => listen.address.family !== "unix";
const isIPv4 = (listen: ListenAddress): boolean => listen.address.family === "ipv4";
const isIPv6 = (listen: ListenAddress): boolean => listen.address.family === "ipv6";
/** Whether IPv4 packets reach it. */
const takesIPv4 = (listen: ListenAddress, options: SocketOptions): boolean =>
  isIPv4(listen) || listen.dualStack || !options.v6only;

const inet: AppliesTo = { words: "tcp and udp", test: isInet };
const tcp: AppliesTo = { words: "tcp", test: (listen) => isInet(listen) && listen.kind === "stream" };
const udp: AppliesTo = { words: "udp", test: (listen) => isInet(listen) && listen.kind === "datagram" };
const ipv6: AppliesTo = { words: "tcp and udp over IPv6", test: isIPv6 };
const listening: AppliesTo = { words: "tcp, unix and unix-seqpacket", test: (listen) => listen.kind !== "datagram" };
const onPath: AppliesTo = {
  words: "unix sockets with a path",
  test: ({ address }) => address.family === "unix" && !address.abstract,
};

// Numbers of Linux: asm-generic/socket.h, linux/in.h, linux/in6.h and linux/tcp.h.
/** An option that needs nothing else; its value is so many ints long. */
export function kernel(name: string, level: number, option: number, words: number = 1): KernelOption {
  return { name, level, option, words };
}

export const SO_RCVBUF: KernelOption = { ...kernel("SO_RCVBUF", SOL_SOCKET, 8), force: 33 };
export const SO_SNDBUF: KernelOption = { ...kernel("SO_SNDBUF", SOL_SOCKET, 7), force: 32 };
export const SO_BROADCAST: KernelOption = kernel("SO_BROADCAST", SOL_SOCKET, 6);
export const SO_KEEPALIVE: KernelOption = kernel("SO_KEEPALIVE", SOL_SOCKET, 9);
export const SO_PRIORITY: KernelOption = kernel("SO_PRIORITY", SOL_SOCKET, 12);
const SO_REUSEADDR = kernel("SO_REUSEADDR", SOL_SOCKET, 2);
const SO_REUSEPORT = kernel("SO_REUSEPORT", SOL_SOCKET, 15);
const SO_BINDTODEVICE = kernel("SO_BINDTODEVICE", SOL_SOCKET, 25, 4); // IFNAMSIZ bytes
const SO_MARK = kernel("SO_MARK", SOL_SOCKET, 36);
export const IP_TOS: KernelOption = kernel("IP_TOS", IPPROTO_IP, 1);
export const IP_PKTINFO: KernelOption = kernel("IP_PKTINFO", IPPROTO_IP, 8);
const IP_FREEBIND = kernel("IP_FREEBIND", IPPROTO_IP, 15);
const IPV6_V6ONLY = kernel("IPV6_V6ONLY", IPPROTO_IPV6, 26);
export const IPV6_RECVPKTINFO: KernelOption = kernel("IPV6_RECVPKTINFO", IPPROTO_IPV6, 49);
export const IPV6_TCLASS: KernelOption = kernel("IPV6_TCLASS", IPPROTO_IPV6, 67);
const IPV6_FREEBIND = kernel("IPV6_FREEBIND", IPPROTO_IPV6, 78);
export const TCP_NODELAY: KernelOption = kernel("TCP_NODELAY", IPPROTO_TCP, 1);
export const TCP_DEFER_ACCEPT: KernelOption = kernel("TCP_DEFER_ACCEPT", IPPROTO_TCP, 9);

function option<T>(
  name: string,
  type: string,
  read: Reader<T>,
  when: SettableWhen,
  more: {
    sets?: KernelOption | readonly Setting[];
    fit?: AppliesTo;
    unit?: string;
    fallback?: T;
    default?: string;
  } = {},
): SocketOption<T> {
  const { sets = [], fit, ...rest } = more;
  const words = fit === undefined ? {} : { fit, appliesTo: fit.words };
  return { name, type, read, when, ...rest, ...words, sets: "name" in sets ? [{ kernel: sets }] : sets };
}

const INT_MAX = 2 ** 31 - 1;
// SO_RCVBUF and SO_SNDBUF are doubled by the kernel and kept in an int (socket(7)).
const bufferSize = size(2 ** 30 - 1);
const deviceName = matching(
  /^[^\s/:]{1,15}$/,
  "an interface's name",
  'write a name that `ip link` lists, as in "eth0"',
);

/** The table, in the order of the documentation, in which they are set too. */
export const socketOptions: { readonly [K in keyof SocketOptions]-?: SocketOption<NonNullable<SocketOptions[K]>> } = {
  backlog: option("backlog", "integer", integer(1, INT_MAX), "listen", {
    fit: listening,
    unit: "connections",
    fallback: 4096,
    default: "4096",
  }),
  receiveBuffer: option("receive-buffer", "size", bufferSize, "any", { unit: "bytes", sets: SO_RCVBUF }),
  sendBuffer: option("send-buffer", "size", bufferSize, "any", { unit: "bytes", sets: SO_SNDBUF }),
  freebind: option("freebind", "boolean", flag, "bind", {
    fit: inet,
    sets: [
      { kernel: IP_FREEBIND, on: isIPv4 },
      { kernel: IPV6_FREEBIND, on: isIPv6 },
    ],
  }),
  v6only: option("v6only", "boolean", flag, "unbound", {
    fit: ipv6,
    fallback: true,
    default: "true",
    sets: IPV6_V6ONLY,
  }),
  reusePort: option("reuse-port", "boolean", flag, "bind", { fit: inet, sets: SO_REUSEPORT }),
  device: option("device", "interface name", deviceName, "bind", { fit: inet, sets: SO_BINDTODEVICE }),
  broadcast: option("broadcast", "boolean", flag, "any", { fit: udp, sets: SO_BROADCAST }),
  keepAlive: option("keep-alive", "boolean", flag, "any", { fit: tcp, sets: SO_KEEPALIVE }),
  noDelay: option("no-delay", "boolean", flag, "any", { fit: tcp, sets: TCP_NODELAY }),
  deferAccept: option("defer-accept", "duration", duration(INT_MAX), "any", {
    fit: tcp,
    unit: "seconds",
    sets: TCP_DEFER_ACCEPT,
  }),
  tos: option("tos", "integer from 0 to 255", integer(0, 255), "any", {
    fit: inet,
    sets: [
      { kernel: IP_TOS, on: takesIPv4 },
      { kernel: IPV6_TCLASS, on: isIPv6 },
    ],
  }),
  // After IP_TOS, which sets a priority of its own (ip(7)).
  priority: option("priority", "integer from 0 to 6", integer(0, 6), "any", { fit: inet, sets: SO_PRIORITY }),
  mark: option("mark", "integer from 0 to 4294967295", integer(0, 2 ** 32 - 1), "any", { fit: inet, sets: SO_MARK }),
  packetInfo: option("packet-info", "boolean", flag, "any", {
    fit: udp,
    sets: [
      { kernel: IP_PKTINFO, on: isIPv4 },
      { kernel: IPV6_RECVPKTINFO, on: isIPv6 },
    ],
  }),
  mode: option("mode", "octal string", octal, "path", { fit: onPath, fallback: 0o666, default: '"0666"' }),
  owner: option("owner", "user name or id", uid, "path", { fit: onPath }),
  group: option("group", "group name or id", gid, "path", { fit: onPath }),
};

/** Set on every TCP listener: it can come back while connections of the last one linger. */
export const listenerReuse: KernelOption = SO_REUSEADDR;

const optionKeys = keysOf(socketOptions);

/** What `options` set on a socket, in order, of those options that can be set at `when`. */
export function settingsFor(
  when: SettableWhen,
  listen: ListenAddress,
  options: SocketOptions,
): { readonly kernel: KernelOption; readonly value: number | string }[] {
  const settings: { readonly kernel: KernelOption; readonly value: number | string }[] = [];
  for (const key of optionKeys) {
    // Most sockets have none of them, and ten thousand sockets are opened at a start.
    if (options[key] === undefined) continue;
    const { when: settable, fit, sets } = socketOptions[key];
    const value = key === "v6only" ? options.v6only && !listen.dualStack : options[key];
    // What is fixed at bind(2) is off on a new socket. A .socket unit may have reasons to set it.
    const isSet = settable === "bind" ? value !== undefined && value !== false : value !== undefined;
    if (settable !== when || !isSet || fit?.test(listen) === false) continue;
    for (const { kernel, on } of sets) {
      if (on?.(listen, options) ?? true)
        settings.push({ kernel, value: typeof value === "string" ? value : Number(value) });
    }
  }
  return settings;
}

/** `key=value` of each option that is set and fixed at bind(2), except those in `except`. */
export function fixedAtBind(options: SocketOptions, except: readonly (keyof SocketOptions)[]): string[] {
  return optionKeys
    .filter((key) => ["unbound", "bind"].includes(socketOptions[key].when) && !except.includes(key))
    .flatMap((key) => (options[key] === undefined ? [] : [`${key}=${options[key]}`]));
}

/** The keys of the table. */
function keysOf<K extends string>(table: Readonly<Record<K, unknown>>): K[];
function keysOf(table: object): string[] {
  return Object.keys(table);
}
