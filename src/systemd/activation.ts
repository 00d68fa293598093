/** Socket activation, sd_listen_fds(3): takes ownership of the descriptors passed to this process. */
import { fstatSync, statfsSync } from "node:fs";
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
}

/**
 * The descriptors passed by the launcher or by systemd, in order. Empty if they are meant for another process.
 * The variables are removed. So a second call returns nothing, and no child process uses them.
 *
 * Throws USAGE when the variables contradict each other (sd_listen_fds_with_names(3) returns EINVAL then). Throws
 * DESCRIPTOR_CLOSED when a descriptor they name is not open.
 */
export function listenFds(options: ListenFdsOptions = {}): PassedFd[] {
  const { env = process.env, sys = native } = options;
  const found = parseListenFds(env, process.pid, env["LISTEN_PIDFDID"] === undefined ? undefined : pidfdId(sys));
  for (const name of ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete env[name];
  if ("ignored" in found) return [];
  if ("invalid" in found) throw new BerthError("USAGE", found.invalid);
  for (const { fd, name } of found.fds) {
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

/** The number of this process, unique since boot. Undefined if the kernel has no such number. */
function pidfdId(sys: Native): bigint | undefined {
  const pidfd = sys.pidfdOpen(process.pid);
  if (pidfd < 0) return undefined;
  using handle = FdHandle.adopt(pidfd, sys);
  if (statfsSync(`/proc/self/fd/${handle.fd}`).type !== PIDFS_MAGIC) return undefined;
  return fstatSync(handle.fd, { bigint: true }).ino;
}
