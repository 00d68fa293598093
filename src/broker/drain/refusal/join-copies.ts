/**
 * Has the kernel drop the joins of some UDP sockets, and copy the beginning of each into a ring for a doorman. It does
 * so by a program of the root of the control groups, while this has the program's descriptor: it ends with the broker,
 * however that ends. The sockets themselves and their filters are left alone.
 */
import { constants } from "node:fs";
import { constants as system } from "node:os";
import { FdHandle } from "../../../fd.ts";
import { AT_FDCWD, type Native } from "../../../native.ts";
import { loadProgram } from "../../../net/bpf-load.ts";
import { MAP_TYPES } from "../../../net/bpf-program.ts";
import { JOIN_RING_BYTES, joinProgram } from "../../../net/join-program.ts";
import type { JoinShape } from "../../../net/join-shapes.ts";
import { socketCookie } from "../../../net/socket-queries.ts";
import { bpfProblem } from "./bpf-problem.ts";

const { E2BIG, EBADF, ENOENT } = system.errno;
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
    if (map < 0) return problemOf({ call: "bpf", result: map });
    const ring = FdHandle.adopt(map, sys);
    const cookies = sockets.map((fd) => socketCookie(fd, sys));
    const linked = linkTo(joinProgram(ring.fd, cookies, shapes), sys);
    if (linked.result >= 0) return new JoinCopies(ring, FdHandle.adopt(linked.result, sys));
    ring.close();
    return problemOf(linked);
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

/** The last call and what it returned: a descriptor, or -errno. */
interface Called {
  readonly call: "bpf" | "openat2";
  readonly result: number;
  /** To check, where it is EPERM. */
  readonly check?: string;
}

/** The link keeps the program, and the program the ring. */
function linkTo(instructions: Uint8Array, sys: Native): Called {
  const number = loadProgram((log) => sys.bpfGroupFilter(instructions, log));
  if (number < 0) return { call: "bpf", result: number };
  using program = FdHandle.adopt(number, sys);
  for (const path of ROOTS) {
    const linked = linkAt(path, program.fd, sys);
    // Nothing is mounted there, or version 1.
    if (linked.result !== -EBADF && linked.result !== -ENOENT) return linked;
  }
  return { call: "bpf", result: -EBADF };
}

function linkAt(path: string, program: number, sys: Native): Called {
  const folder = sys.openat2(AT_FDCWD, Buffer.from(path), constants.O_RDONLY | constants.O_DIRECTORY, 0, 0);
  if (folder < 0) return { call: "openat2", result: folder };
  using group = FdHandle.adopt(folder, sys);
  // A program that was attached without BPF_F_ALLOW_MULTI leaves no room for others (kernel/bpf/cgroup.c).
  const check = `whether a program there allows no other (bpftool cgroup show ${path})`;
  return { call: "bpf", result: sys.bpfLinkGroup(program, group.fd), check };
}

function problemOf({ call, result, check }: Called): string {
  if (result === -EBADF) return "control groups of version 2 are not mounted";
  return result === -E2BIG ? "too many berths do so at once" : bpfProblem(call, result, "look at datagrams", check);
}
