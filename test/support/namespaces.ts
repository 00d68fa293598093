/** Namespaces that processes are in. */
import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";

const KINDS = ["user", "mnt"] as const;

/**
 * The user and mount namespaces of a process, as `mnt:[4026532335]`; held, because the kernel uses such a number again
 * at once.
 */
export class HeldNamespaces implements Disposable {
  readonly names: readonly string[];
  readonly #fds: readonly number[];

  constructor(pid: number) {
    this.#fds = KINDS.map((kind) => openSync(`/proc/${pid}/ns/${kind}`, "r"));
    this.names = this.#fds.map((fd) => readlinkSync(`/proc/self/fd/${fd}`));
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) closeSync(fd);
  }
}

/** The user and mount namespaces that any process is in. */
export function namespaces(): Set<string> {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return new Set(pids.flatMap((pid) => KINDS.map((kind) => linkOf(`/proc/${pid}/ns/${kind}`))));
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // ended meanwhile
  }
}
