/**
 * Who is at the other end of a connection. The kernel says so; the peer's own word never counts. Credentials are those
 * at connect(2), even if the process drops its privilege later or passes the socket on (hazard 14, docs/security.md).
 * Groups and the unit are looked up only when a policy needs them.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { check, isScarcity, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { POLLIN, SO_PEERPIDFD, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketOption } from "../../net/socket-queries.ts";
import { networkOf } from "./network.ts";
import { contentsOf } from "./small-file.ts";

const { ENOPROTOOPT } = constants.errno;

export class Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly #socket: number;
  readonly #sys: Native;
  #groups: readonly number[] | undefined;
  #unit: string | null | undefined;
  #controlGroups: string | undefined;

  private constructor(socket: number, credentials: Int32Array, sys: Native) {
    this.#socket = socket;
    this.#sys = sys;
    this.pid = credentials[0] ?? 0;
    this.uid = (credentials[1] ?? -1) >>> 0;
    this.gid = (credentials[2] ?? -1) >>> 0;
  }

  /**
   * Asks the kernel who connected `socket` (SO_PEERCRED, unix(7)). The socket must stay open while the peer is in use.
   */
  static of(socket: number, sys: Native): Peer {
    const credentials = new Int32Array(3);
    check("getsockopt SO_PEERCRED", sys.peercred(socket, credentials));
    return new Peer(socket, credentials, sys);
  }

  /** Its primary and supplementary groups (SO_PEERGROUPS, Linux 4.13). */
  get groups(): readonly number[] {
    if (this.#groups === undefined) {
      let groups = new Uint32Array(64);
      let count = check("getsockopt SO_PEERGROUPS", this.#sys.peergroups(this.#socket, groups));
      if (count > groups.length) {
        groups = new Uint32Array(count);
        count = check("getsockopt SO_PEERGROUPS", this.#sys.peergroups(this.#socket, groups));
      }
      this.#groups = [this.gid, ...groups.subarray(0, count)];
    }
    return this.#groups;
  }

  /** The systemd unit it runs in, from its cgroup. Undefined outside of a unit, or when it has exited. */
  get unit(): string | undefined {
    if (this.#unit === undefined) this.#unit = this.#readUnit() ?? null;
    return this.#unit ?? undefined;
  }

  /** Its /proc/PID/cgroup when that was first asked for: a process of that number's, if this one has exited. */
  get controlGroups(): string {
    this.#controlGroups ??= this.pid === 0 ? "" : contentsOf(`/proc/${this.pid}/cgroup`);
    return this.#controlGroups;
  }

  /** The network namespace it is in; undefined when it has exited, or may not be looked at. */
  get network(): number | undefined {
    return networkOf(this.pid);
  }

  /**
   * A pidfd of the process that connected. Undefined when it has exited or is in another PID namespace. Before Linux
   * 6.5 there is no SO_PEERPIDFD: then pidfd_open(2) of the pid, which another process may have by now.
   */
  pidfd(): FdHandle | undefined {
    if (this.pid === 0) return undefined;
    const result = socketOption(this.#socket, SOL_SOCKET, SO_PEERPIDFD, this.#sys);
    const pidfd = result === -ENOPROTOOPT ? this.#sys.pidfdOpen(this.pid) : result;
    if (pidfd >= 0) return FdHandle.adopt(pidfd, this.#sys);
    const fault = new SysError("getsockopt SO_PEERPIDFD", -pidfd);
    // Running out of descriptors is our failure and says nothing about the peer.
    if (isScarcity(fault)) throw fault;
    return undefined;
  }

  /** Whether the process that connected still runs. */
  get alive(): boolean {
    using pidfd = this.pidfd();
    return pidfd !== undefined && this.#sys.pollNow(pidfd.fd, POLLIN) === 0;
  }

  #readUnit(): string | undefined {
    const groups = this.controlGroups;
    // Another process may have the pid by now. The file is the peer's only if the peer still lives.
    return groups !== "" && this.alive ? unitOfCgroup(groups) : undefined;
  }
}

/**
 * The system unit in /proc/PID/cgroup, as sd_pid_get_unit(3) finds it: the first part of the path that is not a slice.
 * Deeper parts are named by the unit's own processes, so they prove nothing. systemd uses the version 2 hierarchy, or
 * the one named "systemd". Where both exist, one of them may have no units.
 */
export function unitOfCgroup(text: string): string | undefined {
  const lines = text.split("\n");
  const ofSystemd = [/^0::/, /^\d+:name=systemd:/].flatMap((hierarchy) => lines.filter((line) => hierarchy.test(line)));
  return ofSystemd.map(unitOfPath).find((unit) => unit !== undefined);
}

function unitOfPath(line: string): string | undefined {
  const path = line.slice(line.indexOf(":", line.indexOf(":") + 1) + 1);
  const part = path
    .split("/")
    .slice(1)
    .find((name) => !name.endsWith(".slice"));
  // systemd puts "_" before a name that the kernel could take for one of its own files.
  return part !== undefined && /^[^.].*\.(service|scope)$/.test(part) ? part.replace(/^_/, "") : undefined;
}

/** The unit of a user's own manager in /proc/PID/cgroup: the last part of a path. The user can make it any. */
export function userUnitOfCgroup(text: string): string | undefined {
  return /\/([^/\n]+\.service)$/m.exec(text)?.[1];
}

/** The unit of this process. For root it is a system unit, for other users a user unit. */
export function ownUnit(): string | undefined {
  const cgroups = readFileSync("/proc/self/cgroup", "utf8");
  return process.geteuid?.() === 0 ? unitOfCgroup(cgroups) : userUnitOfCgroup(cgroups);
}
