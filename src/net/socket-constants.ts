/** Numbers of socket(7), ip(7), ipv6(7), tcp(7) and poll(2) on Linux that Node does not give. */
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_BROADCAST = 6;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_KEEPALIVE = 9;
export const SO_OOBINLINE = 10;
export const SO_PRIORITY = 12;
export const SO_REUSEPORT = 15;
export const SO_PASSCRED = 16;
export const SO_BINDTODEVICE = 25;
export const SO_DETACH_FILTER = 27;
/** SO_TIMESTAMP_OLD; its kin are here too. */
export const SO_TIMESTAMP = 29;
export const SO_ACCEPTCONN = 30;
export const SO_RCVBUFFORCE = 33;
export const SO_TIMESTAMPNS = 35;
export const SO_MARK = 36;
export const SO_TIMESTAMPING = 37;
export const SO_PROTOCOL = 38;
export const SO_DOMAIN = 39;
/** Linux 3.19. */
export const SO_ATTACH_BPF = 50;
export const SO_COOKIE = 57;
export const SO_BINDTOIFINDEX = 62;
/** Linux 6.5. */
export const SO_PASSPIDFD = 76;
/** Linux 6.5. */
export const SO_PEERPIDFD = 77;
/** Linux 5.14. */
export const SO_NETNS_COOKIE = 71;
/** Linux 6.16. */
export const SO_PASSRIGHTS = 83;

export const IPPROTO_IP = 0;
export const IP_TOS = 1;
export const IP_PKTINFO = 8;
export const IP_FREEBIND = 15;
export const IP_BIND_ADDRESS_NO_PORT = 24;

export const IPPROTO_UDP = 17;
/** A server that speaks it speaks TCP too; Go asks for it by default. */
export const IPPROTO_MPTCP = 262;

export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const TCP_DEFER_ACCEPT = 9;

export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_TCLASS = 67;
export const IPV6_FREEBIND = 78;

export const POLLIN = 0x001;
export const POLLOUT = 0x004;
export const POLLERR = 0x008;
export const POLLHUP = 0x010;
export const POLLRDHUP = 0x2000;

export const O_NONBLOCK = 0o4000;
export const O_PATH = 0o10000000;
