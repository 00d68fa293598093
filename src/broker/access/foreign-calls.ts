/**
 * The calls that the broker may make on an open file that somebody else has or had. None of them waits for a peer, for
 * a file system, or for a lock that a tenant can hold (lock_sock). All others are the guard's
 * (test/foreign-calls.test.ts).
 */
import type { Native } from "../../native.ts";

/** Their names in the addon. */
type Name =
  | "dup"
  | "closeForeign"
  | "getfl"
  | "getSeals"
  | "kcmp"
  | "statNow"
  | "unixFile"
  | "getsockopt"
  | "lastReceived"
  | "pollNow"
  | "Poll"
  | "epollControl"
  | "epollReady"
  | "peercred"
  | "peergroups"
  | "pidfdGetfd"
  | "readProc"
  | "readSockets"
  | "pidfdSignal"
  | "pidfdSignalGroup";

/** Each with the reason why it does not wait. */
export const foreignCalls: Readonly<Record<Name, string>> = {
  dup: "takes a reference to the open file",
  closeForeign: "the guard closes it",
  getfl: "reads a field of the open file (F_GETFL)",
  getSeals: "reads a field of a memfd; of other files it is EINVAL (F_GET_SEALS)",
  kcmp: "compares pointers",
  statNow: "asks no file system (AT_STATX_DONT_SYNC)",
  unixFile: "takes a reference to the path of a UNIX socket (SIOCUNIXFILE)",
  getsockopt: "of level SOL_SOCKET alone, which takes no lock (sk_getsockopt, net/core/sock.c)",
  lastReceived:
    "takes the lock of a socket only once (SIOCGSTAMP): before anybody else has it (open-socket.ts), or in a guard (examine-sockets.ts)",
  pollNow: "of a socket, a pipe, a pidfd or a seccomp listener; a file of FUSE is never asked",
  Poll: "a thread asks as pollNow does: the third argument is true",
  epollControl: "of an epoll that is in no other one: only that has a lock which others can hold",
  epollReady: "does not wait",
  peercred: "reads who has connected (SO_PEERCRED)",
  peergroups: "reads who has connected (SO_PEERGROUPS)",
  pidfdGetfd: "a thread waits for the process, for a limited time",
  readSockets: "a thread waits for the process, for a limited time",
  readProc: "a thread waits for the process, for a limited time",
  pidfdSignal: "of a pidfd",
  pidfdSignalGroup: "of a pidfd",
};

/** The addon, for code that handles what somebody else has or had. */
export type ForeignCalls = Pick<Native, Name>;
