/**
 * The only door to the addon. Every function here is one system call with its arguments checked: the result is what
 * the call returned, or `-errno`; nothing retries, nothing decides. Code that has to be testable against a failing
 * kernel takes a {@link Native} as a parameter instead of importing {@link native}.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AccountCalls } from "./accounts.ts";
import { BerthError } from "./errors.ts";
import type { BpfCalls } from "./native-bpf.ts";
import type { DoormanCalls } from "./native-doorman.ts";
import type { Interceptor, Told } from "./native-interceptor.ts";
import type { EpollCalls, Poll, PollCallback } from "./native-poll.ts";

export type { Poll, PollCallback } from "./native-poll.ts";

/** process.cc also has the calls of {@link AccountCalls}. */
export interface Native extends AccountCalls, BpfCalls, DoormanCalls, EpollCalls {
  // message.cc ---------------------------------------------------------------------------------------------------
  /**
   * sendmsg(2) of `data` from `offset`, with the first `count` entries of `fds` as SCM_RIGHTS. MSG_NOSIGNAL and
   * MSG_DONTWAIT always. Returns the bytes taken, or -errno. At most {@link MAX_FDS} fds: more is -EINVAL unsent.
   */
  sendmsg(socket: number, data: Uint8Array, offset: number, fds: Int32Array, count: number): number;
  /**
   * recvmsg(2) into `data` from `offset`, MSG_DONTWAIT and MSG_CMSG_CLOEXEC. `received` gets [number of fds, flags,
   * fd, fd, …] and must hold {@link RECEIVED_LENGTH}. With MSG_CTRUNC all fds have been closed and the result is
   * -EMSGSIZE (hazard 4). A control message beyond our maximum is closed too. Returns the bytes, 0 at the end, or
   * -errno.
   */
  recvmsg(socket: number, data: Uint8Array, offset: number, received: Int32Array): number;
  /** As recvmsg with MSG_PEEK: the message stays, and its fds with it; those received are duplicates. */
  peekmsg(socket: number, data: Uint8Array, offset: number, received: Int32Array): number;
  /**
   * As recvmsg on a stream, but takes no byte beyond the first NUL: the boundary is found with MSG_PEEK first, so that
   * the fds which arrive are those of this frame (hazard 8). The result may be a part that has no NUL yet.
   */
  recvframe(socket: number, data: Uint8Array, offset: number, received: Int32Array): number;
  /**
   * As recvmsg, and `sender` gets [pid, uid, gid, pidfd] of the sender. The first three need SO_PASSCRED (else 0, -1,
   * -1). The pidfd needs SO_PASSPIDFD (Linux 6.5) and a sender that is not reaped (else < 0); the caller closes it.
   */
  recvcred(socket: number, data: Uint8Array, offset: number, received: Int32Array, sender: Int32Array): number;

  /**
   * Reads bytes, never descriptors. `mode`: {@link FRAME} reads a frame or a part of one; -E2BIG if more follows its
   * NUL. {@link LOOK} leaves the bytes where they are. For both, -ENOMSG means that descriptors come with them, and
   * after an error nothing is read. {@link TAKE} reads what there is: the kernel closes descriptors that come with it.
   */
  recvbytes(socket: number, data: Uint8Array, mode: number): number;
  /**
   * Who sent the next datagram: [pid, uid, gid] into `sender`, which needs SO_PASSCRED and no SO_PASSPIDFD. 1 if it
   * carries descriptors, 0 if not, or -errno. The datagram stays.
   */
  peeksender(socket: number, sender: Int32Array): number;

  // socket.cc ----------------------------------------------------------------------------------------------------
  /** socket(2) with SOCK_CLOEXEC | SOCK_NONBLOCK. */
  socket(domain: number, type: number, protocol: number): number;
  /** socketpair(2), CLOEXEC and non-blocking, into `pair`[0] and [1]. Returns 0 or -errno. */
  socketpair(domain: number, type: number, pair: Int32Array): number;
  bind(fd: number, sockaddr: Uint8Array): number;
  connect(fd: number, sockaddr: Uint8Array): number;
  listen(fd: number, backlog: number): number;
  /** accept4(2) with SOCK_CLOEXEC | SOCK_NONBLOCK. */
  accept(fd: number): number;
  shutdown(fd: number, how: number): number;
  /** getsockname(2) and getpeername(2) into `sockaddr`; the address's true length, or -errno. */
  getsockname(fd: number, sockaddr: Uint8Array): number;
  getpeername(fd: number, sockaddr: Uint8Array): number;
  /** setsockopt(2) of an int, or of bytes. */
  setsockopt(fd: number, level: number, option: number, value: number | Uint8Array): number;
  /** getsockopt(2) into `value`, as many words as it has. Returns 0 or -errno. A peer pidfd comes this way. */
  getsockopt(fd: number, level: number, option: number, value: Int32Array): number;
  /**
   * getsockopt(2) of many options. `asked` has [level, option, words] for each; `values` gets the result and so many
   * words for each, one after the other. Returns how many were asked for: fewer if `values` is too small.
   */
  getsockopts(fd: number, asked: Int32Array, values: Int32Array): number;
  /** SO_PEERCRED into `credentials`: [pid, uid, gid]. Returns 0 or -errno. */
  peercred(fd: number, credentials: Int32Array): number;
  /** SO_PEERGROUPS into `groups`; how many there are (may exceed the array: then nothing was written), or -errno. */
  peergroups(fd: number, groups: Uint32Array): number;
  /**
   * SIOCGSTAMPNS (socket(7)) into `stamp`, the four words of a timespec: when the datagram that was read last had come.
   * The first call makes the kernel keep it; -ENOENT until one was read, -ENOTTY for a UNIX socket. Shared by all
   * duplicates. It stands still while SO_TIMESTAMP or one of its kin is set.
   */
  lastReceived(fd: number, stamp: Int32Array): number;
  /**
   * SIOCUNIXFILE (linux/un.h): an O_PATH descriptor of the file that a UNIX socket is bound to, -ENOENT if it is bound
   * to none, or -errno. Needs CAP_NET_ADMIN.
   */
  unixFile(fd: number): number;
  /** if_nametoindex(3): 0 if there is no such interface. */
  ifindex(name: string): number;

  // descriptor.cc ------------------------------------------------------------------------------------------------
  /** close(2). Not retried on EINTR: on Linux the fd is gone. */
  close(fd: number): number;
  /**
   * Closes what another process opened. Where close(2) may wait (a FUSE file, a socket with SO_LINGER), a thread of its
   * own waits. -EAGAIN: 32 threads wait already, and the descriptor stays open.
   */
  closeForeign(fd: number): number;
  /** F_DUPFD_CLOEXEC, at or above 3. */
  dup(fd: number): number;
  /** fcntl(2) F_GETFL / F_SETFL / F_GETFD / F_SETFD. */
  getfl(fd: number): number;
  setfl(fd: number, flags: number): number;
  getfd(fd: number): number;
  setfd(fd: number, flags: number): number;
  /** poll(2) of one fd with no wait: its revents, or -errno. */
  pollNow(fd: number, events: number): number;
  /**
   * As pollNow, but waits up to `milliseconds`, and the event loop with it. Returns revents, 0 after that time, or
   * -errno.
   */
  pollFor(fd: number, events: number, milliseconds: number): number;
  /**
   * statx(2) with AT_STATX_DONT_SYNC, which asks no file system: [mode, major and minor of the device, low and high
   * half of the inode] into `into`. Only the type is true of the mode. Returns 0 or -errno.
   */
  statNow(fd: number, into: Uint32Array): number;
  /** flock(2) with LOCK_NB always: LOCK_SH or LOCK_EX. */
  flock(fd: number, operation: number): number;
  /** fcntl(2) F_OFD_SETLK of the whole file: F_RDLCK or F_WRLCK. What systemd's lock files have. */
  recordLock(fd: number, type: number): number;
  /** kcmp(2) KCMP_FILE of two descriptors of this process: 0 if they are the same open file, 1 to 3 if not. */
  kcmp(one: number, other: number): number;
  /** lseek(2): the new offset, or -errno. SEEK_DATA is -ENXIO where only a hole follows. */
  lseek(fd: number, offset: number, whence: number): number;
  /** ioctl(2) FICLONE: makes the file `to` share all blocks of the file `from`. */
  ficlone(to: number, from: number): number;
  /** memfd_create(2) with MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL where the kernel knows it. */
  memfd(name: string): number;
  /** F_ADD_SEALS, and F_GET_SEALS: -EINVAL for a file that is not in memory. */
  addSeals(fd: number, seals: number): number;
  getSeals(fd: number): number;

  // directory.cc: names are bytes without NUL ----------------------------------------------------------------------
  /** openat2(2) with O_CLOEXEC added: `flags` and `mode` as in open(2), `resolve` of RESOLVE_*. */
  openat2(directory: number, path: Uint8Array, flags: number, mode: number, resolve: number): number;
  mkdirat(directory: number, name: Uint8Array, mode: number): number;
  /** mknodat(2); `device` is st_rdev. */
  mknodat(directory: number, name: Uint8Array, mode: number, device: number): number;
  /** utimensat(2) of a path: seconds and nanoseconds of the access time, then of the modification time. */
  utimens(path: Uint8Array, accessed: number, accessedNs: number, modified: number, modifiedNs: number): number;
  /** unlinkat(2); `flags` is 0 or AT_REMOVEDIR. */
  unlinkat(directory: number, name: Uint8Array, flags: number): number;
  renameat2(fromDirectory: number, from: Uint8Array, toDirectory: number, to: Uint8Array, flags: number): number;
  symlinkat(target: Uint8Array, directory: number, name: Uint8Array): number;
  /**
   * readlinkat(2) into `target`: how many bytes, at most its length, or -errno. An empty name is `directory` itself.
   */
  readlinkat(directory: number, name: Uint8Array, target: Uint8Array): number;
  /** getdents64(2) into `entries`: the bytes of whole `struct linux_dirent64`s, 0 at the end, or -errno. */
  getdents64(fd: number, entries: Uint8Array): number;

  // process.cc ---------------------------------------------------------------------------------------------------
  pidfdOpen(pid: number): number;
  /** pidfd_send_signal(2); signal 0 asks whether it is alive. */
  pidfdSignal(pidfd: number, signal: number): number;
  /**
   * Sends a signal to the process group that the process leads, also once it has ended (PIDFD_SIGNAL_PROCESS_GROUP).
   * -EINVAL before Linux 6.9.
   */
  pidfdSignalGroup(pidfd: number, signal: number): number;
  /**
   * pidfd_getfd(2): a duplicate, close-on-exec, or -errno. While the process executes a program the kernel waits, in a
   * thread: -ETIMEDOUT after `milliseconds`.
   */
  pidfdGetfd(pidfd: number, fd: number, milliseconds: number): number;
  /** The sockets of a process, a line each (`5 socket:[812]`), into `bytes`, as readProc. */
  readSockets(pid: number, bytes: Uint8Array, milliseconds: number): number;
  /** Reads a file of /proc/PID, and waits as pidfdGetfd. How many bytes, or -errno. */
  readProc(path: string, bytes: Uint8Array, milliseconds: number): number;
  /**
   * execve(2) in this very process, with fds 0–2 and `passed` more kept open and all others closed. Returns only
   * -errno.
   */
  exec(path: string, argv: readonly string[], env: readonly string[], passed: number): number;

  // mount.cc -----------------------------------------------------------------------------------------------------
  /** open_tree(2), with OPEN_TREE_CLOEXEC always. With {@link OPEN_TREE_CLONE} the result is a detached mount. */
  openTree(directory: number, path: string, flags: number): number;
  /**
   * mount_setattr(2) of the mount behind a descriptor: sets MOUNT_ATTR_… bits; `userns` counts with MOUNT_ATTR_IDMAP.
   */
  mountSetattr(mount: number, set: number, userns: number): number;
  /** fsopen(2), FSOPEN_CLOEXEC. Reading the descriptor gives the kernel's messages, one a read. */
  fsopen(type: string): number;
  /** fsconfig(2): FSCONFIG_SET_FLAG, _SET_STRING, _SET_FD (layers of an overlay: Linux 6.13) and _CMD_CREATE. */
  fsconfigFlag(context: number, key: string): number;
  fsconfigString(context: number, key: string, value: string): number;
  fsconfigFd(context: number, key: string, fd: number): number;
  fsconfigCreate(context: number): number;
  /** fsmount(2), FSMOUNT_CLOEXEC: a detached mount with these MOUNT_ATTR_… bits. It ends with its descriptor. */
  fsmount(context: number, attributes: number): number;

  // inotify.cc ---------------------------------------------------------------------------------------------------
  /** inotify_init1(2), IN_CLOEXEC always. Reading the descriptor gives events (inotify(7)). */
  inotifyInit(flags: number): number;
  /** inotify_add_watch(2) of a path for the events of `mask`: the number that its events carry, or -errno. */
  inotifyAddWatch(inotify: number, path: string, mask: number): number;

  // userns.cc ----------------------------------------------------------------------------------------------------
  /**
   * A user namespace in which ids from 0 are `count` ids of the caller's from `base` (user_namespaces(7)): its
   * descriptor, or -errno. `owner` is the user who has all capabilities in it; another than the caller's own takes
   * milliseconds instead of some ten microseconds. No process is left in it.
   */
  userns(base: number, count: number, owner: number): number;

  // xattr.cc: paths and names are bytes without NUL ------------------------------------------------------------------
  /** listxattr(2) into `names`, each ended by NUL: how many bytes, or -errno (ERANGE: they do not fit). */
  listxattr(path: Uint8Array, names: Uint8Array): number;
  /** getxattr(2) into `value`: how many bytes, or -errno (ERANGE: they do not fit). */
  getxattr(path: Uint8Array, name: Uint8Array, value: Uint8Array): number;
  /** setxattr(2), whether there is such an attribute or not. */
  setxattr(path: Uint8Array, name: Uint8Array, value: Uint8Array): number;

  // seccomp.cc ---------------------------------------------------------------------------------------------------
  /**
   * Takes ownership of both descriptors. `tell` gets each bind, and null when no process has the filter. `record`, a
   * memfd or -1, holds the call that is being answered: another interceptor that is given both goes on with it, should
   * this process end before.
   */
  Interceptor: new (
    notify: number,
    tell: (told: Told) => void,
    record: number,
  ) => Interceptor;

  // poll.cc ------------------------------------------------------------------------------------------------------
  /** `isShared`, for open files that others have too: a thread watches them by poll(2), which changes nothing. */
  Poll: new (
    fd: number,
    callback: PollCallback,
    isShared?: boolean,
  ) => Poll;
}

/** Poll events, as libuv names them. */
export const READABLE = 1;
export const WRITABLE = 2;
export const DISCONNECT = 4;
/** Modes of recvbytes. */
export const FRAME = 0;
export const LOOK = 1;
export const TAKE = 2;

/** recvmsg(2), among the flags in `received`: the message was longer than the buffer. */
export const MSG_TRUNC = 0x20;

/** open_tree(2): a copy of the mount, not attached anywhere. AT_EMPTY_PATH: of the descriptor itself. */
export const OPEN_TREE_CLONE = 1;
export const AT_EMPTY_PATH = 0x1000;
/** In place of a directory: the path is absolute, or relative to the current one (openat(2)). */
export const AT_FDCWD = -100;

/** mount_setattr(2) and fsmount(2). */
export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_IDMAP = 0x100000;

/** inotify(7): the file system is gone. It is told of every watch, whatever that asked for. */
export const IN_UNMOUNT = 0x2000;
/** inotify_init1(2): a read does not wait. */
export const IN_NONBLOCK = 0x800;

/** SCM_MAX_FD: the most descriptors one message can carry (unix(7)). */
export const MAX_FDS = 253;

/** Entries a `received` array needs: count, flags, and the fds. */
export const RECEIVED_LENGTH: number = 2 + MAX_FDS;

/** The package's own folder, whether run from `src/` or from `dist/`. */
export const packageRoot: string = join(dirname(fileURLToPath(import.meta.url)), "..");

const require = createRequire(import.meta.url);

function load(): Native {
  try {
    const find = require("node-gyp-build") as (folder: string) => Native;
    return find(packageRoot);
  } catch (cause) {
    throw new BerthError(
      "ADDON_MISSING",
      `berthd's native addon is not built for this system (Node ${process.version}, ${process.platform} ${process.arch}); ` +
        "build it with `npm rebuild berthd`, which needs python3, make and g++",
      { cause },
    );
  }
}

/** The addon. Loading it fails with ADDON_MISSING, which says how to build it. */
export const native: Native = load();
