/** Socket activation, sd_listen_fds(3): takes ownership of the descriptors passed to this process. */
import { fstatSync, readdirSync, readFileSync, readlinkSync, statfsSync } from "node:fs";
import { constants } from "node:os";
import { BerthError, check, SysError } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import { parseListenFds } from "../launch/listen-fds.ts";
import { type Native, native } from "../native.ts";

const { EBADF } = constants.errno;
const FD_CLOEXEC = 1;
/** The file system that gives each process an inode. Before Linux 6.9 all pidfds shared one inode (statfs(2)). */
const PIDFS_MAGIC = 0x50494446;

/** A descriptor passed to this process, with its name. */
export interface PassedFd {
  readonly name: string;
  readonly handle: FdHandle;
}

export interface ListenFdsOptions {
  /** The environment to read the variables from. They are removed from it. Default: process.env. */
  readonly env?: NodeJS.ProcessEnv;
  /** @internal */
  readonly sys?: Native;
  /** @internal */
  readonly ownFds?: () => ReadonlySet<number>;
}

/**
 * The descriptors passed by the launcher or by systemd, in order. Empty if they are meant for another process.
 * The variables are removed. So a second call returns nothing, and no child process uses them.
 *
 * Throws USAGE when the variables contradict each other (sd_listen_fds_with_names(3) returns EINVAL then), or name a
 * descriptor of Node's own. Throws DESCRIPTOR_CLOSED when a descriptor they name is not open.
 */
export function listenFds(options: ListenFdsOptions = {}): PassedFd[] {
  const { env = process.env, sys = native, ownFds = findOwnFds } = options;
  const found = parseListenFds(env, process.pid, env["LISTEN_PIDFDID"] === undefined ? undefined : pidfdId(sys));
  for (const name of ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete env[name];
  if ("ignored" in found) return [];
  if ("invalid" in found) throw new BerthError("USAGE", found.invalid);
  const own = ownFds();
  for (const { fd, name } of found.fds) {
    if (own.has(fd)) {
      throw new BerthError(
        "USAGE",
        `LISTEN_FDS is ${found.fds.length}, but descriptor ${fd} (${name}) is this program's own: fewer were passed. ` +
          "Start the program through a launcher that leaves the passed descriptors open",
      );
    }
    const flags = sys.getfd(fd);
    if (flags === -EBADF) {
      throw new BerthError("DESCRIPTOR_CLOSED", `LISTEN_FDS names descriptor ${fd} (${name}), which is not open`, {
        cause: new SysError("fcntl F_GETFD", EBADF),
      });
    }
    check("fcntl F_SETFD", sys.setfd(fd, check("fcntl F_GETFD", flags) | FD_CLOEXEC));
  }
  return found.fds.map(({ fd, name }) => ({ name, handle: FdHandle.adopt(fd, sys) }));
}

/**
 * What this process has opened and uses: its instances of epoll(7), and what these watch. Node opens one of them first,
 * so it has the first number that was not passed (test/systemd/activation.test.ts).
 */
function findOwnFds(): ReadonlySet<number> {
  const own = new Set<number>();
  for (const fd of readdirSync("/proc/self/fd").map(Number)) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) !== "anon_inode:[eventpoll]") continue;
      own.add(fd);
      const watched = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").matchAll(/^tfd:\s*(\d+)/gm);
      for (const [, number] of watched) own.add(Number(number));
    } catch (error) {
      // The descriptor that read the folder is closed by now.
      if (!(error instanceof Error) || !("code" in error) || error.code !== "ENOENT") throw error;
    }
  }
  return own;
}

/** The number of this process, unique since boot. Undefined if the kernel has no such number. */
function pidfdId(sys: Native): bigint | undefined {
  const pidfd = sys.pidfdOpen(process.pid);
  if (pidfd < 0) return undefined;
  using handle = FdHandle.adopt(pidfd, sys);
  if (statfsSync(`/proc/self/fd/${handle.fd}`).type !== PIDFS_MAGIC) return undefined;
  return fstatSync(handle.fd, { bigint: true }).ino;
}
