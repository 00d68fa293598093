/**
 * Whether a server under bind delivery still has a copy of a held socket, by what /proc tells of the processes under a
 * filter. It makes no call on any socket.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setImmediate } from "node:timers/promises";

/** "unknown": a process of the server's may not be looked at. */
export type Copies = "some" | "none" | "unknown";

/** How long a search goes on before others get their turn, in milliseconds. */
const SLICE_MS = 5;
/** Descriptors of one process that are looked at. */
const MAX_LOOKED = 65_536;

/** Looks at the thread that binds first: mostly that is the one, and it may have descriptors of its own. */
export async function copiesOf(inode: bigint, binder: number): Promise<Copies> {
  const others = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== binder);
  let since = performance.now();
  for (const pid of [String(binder), ...others]) {
    if (performance.now() - since > SLICE_MS) {
      await setImmediate();
      since = performance.now();
    }
    if (!isUnderFilter(pid)) continue;
    const found = copiesIn(pid, inode);
    if (found !== "none") return found;
  }
  return "none";
}

/** Under a filter of seccomp, but for the guard's own processes. The broker itself has none. */
function isUnderFilter(pid: string): boolean {
  const status = textOf(`/proc/${pid}/status`);
  return /^Seccomp:\t2$/m.test(status) && !/^Name:\tberth-(guard|keeper)/.test(status) && Number(pid) !== process.pid;
}

function copiesIn(pid: string, inode: bigint): Copies {
  const folder = `/proc/${pid}/fd`;
  try {
    const numbers = readdirSync(folder).slice(0, MAX_LOOKED);
    return numbers.some((fd) => linkOf(`${folder}/${fd}`) === `socket:[${inode}]`) ? "some" : "none";
  } catch (error) {
    const isForbidden = error instanceof Error && "code" in error && error.code === "EACCES";
    const isServers = isForbidden && /^Uid:\t\d+\t(\d+)/m.exec(textOf(`/proc/${pid}/status`))?.[1] === ownUid();
    return isServers ? "unknown" : "none";
  }
}

/** A broker without root serves only servers of its own user. */
function ownUid(): string {
  return String(process.geteuid?.());
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // it has exited
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed since
  }
}
