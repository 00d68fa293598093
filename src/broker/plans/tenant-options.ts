/**
 * Every option that a tenant can set on a socket it was given, without any capability: found by trying all numbers at
 * all levels on each kind of socket (test/broker/plans/tenant-options.test.ts). In the order in which they are set
 * back, for some change others. Data alone.
 */

import type { ListenAddress } from "../../net/address.ts";
import { IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SOL_SOCKET } from "../../net/socket-constants.ts";
import type { SocketCall } from "./socket-call.ts";

/** An option that can be read. */
export interface TenantOption {
  /** As the manual pages and the kernel's headers call it. */
  readonly name: string;
  readonly level: number;
  readonly option: number;
  /** How many ints of its value are compared. */
  readonly words: number;
  /** How it is set back, where it takes more than the value that was read. */
  readonly set?: "linger" | "buffer" | "empty" | "never";
  /** Of a buffer: the option that net.core.[rw]mem_max does not bound (socket(7)). */
  readonly force?: number;
  /** Options whose change changes this one too. */
  readonly follows?: readonly string[];
  /** Runtimes set it on each socket that they are given: no server's doing, so no sentence says that it is set back. */
  readonly isUsual?: true;
}

const SO_DETACH_FILTER = 27;
const SO_DETACH_REUSEPORT_BPF = 68;
const SO_INQ = 84;
const IP_OPTIONS = 4;
const IP_MULTICAST_IF = 32;
const IPV6_MTU = 24;
const IPV6_PKTINFO = 50;
const TCP_MAXSEG = 2;
const UDP_CORK = 1;

type Row = readonly [name: string, option: number, words?: number, more?: Partial<TenantOption>];

const rows = (level: number, table: readonly Row[]): readonly TenantOption[] =>
  table.map(([name, option, words = 1, more]) => ({ name, level, option, words, ...more }));

const ofAll = rows(SOL_SOCKET, [
  ["SO_DOMAIN", 39], // IPV6_ADDRFORM turns an IPv6 socket into one of IPv4, for good
  ["SO_LOCK_FILTER", 44],
  ["SO_DEBUG", 1],
  ["SO_DONTROUTE", 5],
  ["SO_BROADCAST", 6],
  ["SO_KEEPALIVE", 9],
  ["SO_OOBINLINE", 10],
  ["SO_NO_CHECK", 11],
  ["SO_LINGER", 13, 1, { set: "linger" }],
  ["SO_RCVLOWAT", 18],
  ["SO_RCVTIMEO", 20, 4],
  ["SO_SNDTIMEO", 21, 4],
  ["SO_TIMESTAMP", 29],
  ["SO_TIMESTAMPNS", 35],
  ["SO_TIMESTAMP_NEW", 63],
  ["SO_TIMESTAMPNS_NEW", 64],
  ["SO_TIMESTAMPING", 37, 2],
  ["SO_TIMESTAMPING_NEW", 65, 2],
  ["SO_MARK", 36],
  ["SO_RXQ_OVFL", 40],
  ["SO_WIFI_STATUS", 41],
  ["SO_PEEK_OFF", 42],
  ["SO_NOFCS", 43],
  ["SO_SELECT_ERR_QUEUE", 45],
  ["SO_BUSY_POLL", 46],
  ["SO_MAX_PACING_RATE", 47, 2],
  ["SO_INCOMING_CPU", 49],
  ["SO_ZEROCOPY", 60],
  ["SO_TXTIME", 61, 2],
  ["SO_BINDTODEVICE", 62], // SO_BINDTOIFINDEX reads and sets the same
  ["SO_PREFER_BUSY_POLL", 69],
  ["SO_RESERVE_MEM", 73],
  ["SO_TXREHASH", 74],
  ["SO_RCVMARK", 75],
  ["SO_RCVPRIORITY", 82],
]);

const ofUnix = rows(SOL_SOCKET, [
  ["SO_PRIORITY", 12],
  ["SO_PASSCRED", 16],
  ["SO_PASSSEC", 34],
  ["SO_PASSPIDFD", 76],
  ["SO_PASSRIGHTS", 83],
]);

const ofInet = [
  ...rows(IPPROTO_IP, [
    ["IP_OPTIONS", IP_OPTIONS, 10, { set: "empty" }],
    ["IP_TOS", 1],
    ["IP_TTL", 2],
    ["IP_RECVOPTS", 6],
    ["IP_RETOPTS", 7],
    ["IP_PKTINFO", 8],
    ["IP_MTU_DISCOVER", 10],
    ["IP_RECVERR", 11],
    ["IP_RECVTTL", 12],
    ["IP_RECVTOS", 13],
    ["IP_FREEBIND", 15],
    ["IP_PASSSEC", 18],
    ["IP_TRANSPARENT", 19],
    ["IP_RECVORIGDSTADDR", 20],
    ["IP_MINTTL", 21],
    ["IP_CHECKSUM", 23],
    ["IP_BIND_ADDRESS_NO_PORT", 24],
    ["IP_RECVFRAGSIZE", 25],
    ["IP_RECVERR_RFC4884", 26],
    ["IP_MULTICAST_TTL", 33],
    ["IP_MULTICAST_LOOP", 34],
    ["IP_MULTICAST_ALL", 49],
    ["IP_UNICAST_IF", 50],
    ["IP_LOCAL_PORT_RANGE", 51],
  ]),
  ...rows(SOL_SOCKET, [
    ["SO_PRIORITY", 12, 1, { follows: ["IP_TOS"] }],
    ["SO_REUSEPORT", 15],
  ]),
];

const ofIPv6 = rows(IPPROTO_IPV6, [
  ["IPV6_2292PKTINFO", 2],
  ["IPV6_2292HOPOPTS", 3],
  ["IPV6_2292DSTOPTS", 4],
  ["IPV6_2292RTHDR", 5],
  ["IPV6_2292HOPLIMIT", 8],
  ["IPV6_FLOWINFO", 11],
  ["IPV6_UNICAST_HOPS", 16],
  ["IPV6_MULTICAST_IF", 17],
  ["IPV6_MULTICAST_HOPS", 18],
  ["IPV6_MULTICAST_LOOP", 19],
  ["IPV6_MTU_DISCOVER", 23],
  ["IPV6_RECVERR", 25],
  ["IPV6_V6ONLY", 26],
  ["IPV6_MULTICAST_ALL", 29],
  ["IPV6_ROUTER_ALERT_ISOLATE", 30],
  ["IPV6_RECVERR_RFC4884", 31],
  ["IPV6_FLOWINFO_SEND", 33],
  ["IPV6_RECVPKTINFO", 49],
  ["IPV6_RECVHOPLIMIT", 51],
  ["IPV6_RECVHOPOPTS", 53],
  ["IPV6_RECVRTHDR", 56],
  ["IPV6_RECVDSTOPTS", 58],
  ["IPV6_RECVPATHMTU", 60],
  ["IPV6_DONTFRAG", 62],
  ["IPV6_RECVTCLASS", 66],
  ["IPV6_TCLASS", 67],
  ["IPV6_AUTOFLOWLABEL", 70],
  ["IPV6_ADDR_PREFERENCES", 72],
  ["IPV6_MINHOPCOUNT", 73],
  ["IPV6_RECVORIGDSTADDR", 74],
  ["IPV6_TRANSPARENT", 75],
  ["IPV6_UNICAST_IF", 76],
  ["IPV6_RECVFRAGSIZE", 77],
  ["IPV6_FREEBIND", 78],
]);

const ofTcp = rows(IPPROTO_TCP, [
  ["TCP_ULP", 31, 4],
  ["TCP_NODELAY", 1],
  ["TCP_CORK", 3],
  ["TCP_KEEPIDLE", 4],
  ["TCP_KEEPINTVL", 5],
  ["TCP_KEEPCNT", 6],
  ["TCP_SYNCNT", 7],
  ["TCP_LINGER2", 8],
  ["TCP_DEFER_ACCEPT", 9],
  ["TCP_WINDOW_CLAMP", 10],
  ["TCP_QUICKACK", 12],
  ["TCP_CONGESTION", 13, 4],
  ["TCP_THIN_LINEAR_TIMEOUTS", 16],
  ["TCP_USER_TIMEOUT", 18],
  ["TCP_FASTOPEN", 23],
  ["TCP_NOTSENT_LOWAT", 25],
  ["TCP_SAVE_SYN", 27],
  ["TCP_FASTOPEN_CONNECT", 30],
  ["TCP_FASTOPEN_KEY", 33, 8, { set: "never" }], // once there, a key can be replaced, and not removed
  ["TCP_FASTOPEN_NO_COOKIE", 34],
  ["TCP_INQ", 36],
  ["TCP_TX_DELAY", 37],
  ["TCP_RTO_MAX_MS", 44],
  ["TCP_RTO_MIN_US", 45],
  ["TCP_DELACK_MAX_US", 46],
]);

const ofUdp = rows(IPPROTO_UDP, [
  ["UDP_ENCAP", 100],
  ["UDP_NO_CHECK6_TX", 101],
  ["UDP_NO_CHECK6_RX", 102],
  ["UDP_SEGMENT", 103],
  ["UDP_GRO", 104],
]);

/** Last: others change them, and to set a buffer locks its size. */
const last = rows(SOL_SOCKET, [
  ["SO_RCVBUF", 8, 1, { set: "buffer", force: 33, follows: ["SO_RCVLOWAT"] }],
  ["SO_SNDBUF", 7, 1, { set: "buffer", force: 32 }],
  ["SO_BUF_LOCK", 72, 1, { follows: ["SO_RCVBUF", "SO_SNDBUF"] }],
  ["SO_REUSEADDR", 2, 1, { isUsual: true }], // libuv, on each UDP socket that it opens
]);

const unix = [...ofAll, ...ofUnix, ...last];
const udp4 = [...ofAll, ...ofInet, ...ofUdp, ...last];
const udp6 = [...ofAll, ...ofInet, ...ofIPv6, ...ofUdp, ...last];
const tcp4 = [...ofAll, ...ofInet, ...ofTcp, ...last];
const tcp6 = [...ofAll, ...ofInet, ...ofIPv6, ...ofTcp, ...last];

/** The options of the table that a socket of this kind can have. */
export function tenantOptions({ address, kind }: ListenAddress): readonly TenantOption[] {
  if (address.family === "unix") return unix;
  if (kind === "datagram") return address.family === "ipv6" ? udp6 : udp4;
  return address.family === "ipv6" ? tcp6 : tcp4;
}

const set = (level: number, option: number, value: number | Uint8Array = 0): SocketCall => ({
  call: "setsockopt",
  level,
  option,
  value,
});

/**
 * What sets back the options that a tenant can set and nobody can read: always carried out, and silently. Those that
 * the socket does not have fail.
 */
export function unreadableReset({ address, kind }: ListenAddress): readonly SocketCall[] {
  const filter = set(SOL_SOCKET, SO_DETACH_FILTER);
  if (address.family === "unix") return kind === "stream" ? [filter, set(SOL_SOCKET, SO_INQ)] : [filter];
  const inet = [filter, set(SOL_SOCKET, SO_DETACH_REUSEPORT_BPF)];
  const ipv6 =
    address.family === "ipv6"
      ? [set(IPPROTO_IPV6, IPV6_MTU), set(IPPROTO_IPV6, IPV6_PKTINFO, new Uint8Array(20))] // struct in6_pktinfo
      : [];
  const own =
    kind === "datagram"
      ? [
          set(IPPROTO_IP, IP_OPTIONS, new Uint8Array(0)), // nothing but zeros look like none
          set(IPPROTO_IP, IP_MULTICAST_IF),
          // What MSG_MORE or UDP_CORK kept back would go with the next tenant's first datagram: this sends it alone.
          set(IPPROTO_UDP, UDP_CORK),
        ]
      : [set(IPPROTO_TCP, TCP_MAXSEG)];
  return [...inet, ...ipv6, ...own];
}
