/**
 * Has the kernel drop the joins of some UDP sockets, and copy the beginning of each into a ring for a doorman. It does
 * so by a program of the root of the control groups, while this has the program's descriptor: it ends with the broker,
 * however that ends. The sockets themselves and their filters are left alone.
 */
import { constants } from "node:fs";
import { constants as system } from "node:os";
import { SysError } from "../../../errors.ts";
import { FdHandle } from "../../../fd.ts";
import { AT_FDCWD, type Native } from "../../../native.ts";
import { loadProgram } from "../../../net/bpf-load.ts";
import { MAP_TYPES } from "../../../net/bpf-program.ts";
import { JOIN_RING_BYTES, joinProgram } from "../../../net/join-program.ts";
import type { JoinShape } from "../../../net/join-shapes.ts";
import { socketCookie } from "../../../net/socket-queries.ts";

const { E2BIG, EBADF, ENOENT, EPERM } = system.errno;
/** Where version 2 is mounted, alone or beside version 1. */
const ROOTS = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] as const;

export class JoinCopies implements Disposable {
  readonly #ring: FdHandle;
  readonly #link: FdHandle;

  private constructor(ring: FdHandle, link: FdHandle) {
    this.#ring = ring;
    this.#link = link;
  }

  /** The sockets are borrowed for this call. Returns a sentence's end, if it cannot be: why. */
  static open(sockets: readonly number[], shapes: readonly JoinShape[], sys: Native): JoinCopies | string {
    const map = sys.bpfMap(MAP_TYPES.ring, 0, 0, JOIN_RING_BYTES);
    if (map < 0) return problemOf(map);
    const ring = FdHandle.adopt(map, sys);
    const cookies = sockets.map((fd) => socketCookie(fd, sys));
    const link = linkTo(joinProgram(ring.fd, cookies, shapes), sys);
    if (link >= 0) return new JoinCopies(ring, FdHandle.adopt(link, sys));
    ring.close();
    return problemOf(link);
  }

  /** The ring's descriptor. Borrowed. */
  get ring(): number {
    return this.#ring.fd;
  }

  /** The kernel drops no join any more. Idempotent. */
  [Symbol.dispose](): void {
    this.#link.close();
    this.#ring.close();
  }
}

/** The link keeps the program, and the program the ring. Or -errno. */
function linkTo(instructions: Uint8Array, sys: Native): number {
  const number = loadProgram((log) => sys.bpfGroupFilter(instructions, log));
  if (number < 0) return number;
  using program = FdHandle.adopt(number, sys);
  for (const path of ROOTS) {
    const link = linkAt(path, program.fd, sys);
    // Nothing is mounted there, or version 1.
    if (link !== -EBADF && link !== -ENOENT) return link;
  }
  return -EBADF;
}

function linkAt(path: string, program: number, sys: Native): number {
  const folder = sys.openat2(AT_FDCWD, Buffer.from(path), constants.O_RDONLY | constants.O_DIRECTORY, 0, 0);
  if (folder < 0) return folder;
  using group = FdHandle.adopt(folder, sys);
  return sys.bpfLinkGroup(program, group.fd);
}

function problemOf(result: number): string {
  if (result === -EPERM) return "the kernel lets only those with CAP_BPF and CAP_NET_ADMIN look at datagrams (EPERM)";
  if (result === -EBADF) return "control groups of version 2 are not mounted";
  return result === -E2BIG ? "too many berths do so at once" : new SysError("bpf", -result).message;
}
