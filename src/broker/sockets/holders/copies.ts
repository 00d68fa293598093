/**
 * Whether a server still has a copy of a held socket, by what /proc tells of the processes under a filter, and of those
 * of some users. It makes no call on any socket.
 */
import { setImmediate } from "node:timers/promises";
import { SysError } from "../../../errors.ts";
import { contentsOf } from "../../access/small-file.ts";
import { socketsOf } from "./process-sockets.ts";
import { isOfBroker, userProcesses } from "./user-processes.ts";

/** "unknown": none is found, and a process of the server's may not be looked at. */
export type Copies = "some" | "none" | "unknown";

/** How long a search goes on before others get their turn, in milliseconds. */
const SLICE_MS = 5;

/** Looks at the thread that binds first: mostly that is the one, and it may have descriptors of its own. */
export async function copiesOf(inode: bigint, binder: number): Promise<Copies> {
  const user = userIn(contentsOf(`/proc/${binder}/status`));
  const others = userProcesses().filter((pid) => pid !== binder);
  let since = performance.now();
  let isUnknown = false;
  for (const pid of [binder, ...others]) {
    if (performance.now() - since > SLICE_MS) {
      await setImmediate();
      since = performance.now();
    }
    const status = contentsOf(`/proc/${pid}/status`);
    if (!isUnderFilter(pid, status)) continue;
    const found = copiesIn(pid, inode, userIn(status) === user);
    if (found === "some") return found;
    isUnknown ||= found === "unknown";
  }
  return isUnknown ? "unknown" : "none";
}

/** Whether this process has one. */
export function hasCopy(pid: number, inode: bigint): boolean {
  return copiesIn(pid, inode, false) === "some";
}

/** A socket, and whose processes may have it besides those under a filter. */
interface Question {
  readonly inode: bigint;
  readonly isTheirs: (uid: number) => boolean;
  readonly answer: (has: boolean) => void;
}

/** Finds out whether any process has a copy. One pass over all processes answers all that were asked before it. */
export class CopySearch {
  #questions: Question[] = [];
  #isRunning = false;

  /** Whether a process under a filter has it, or one of these users'. */
  has(inode: bigint, isTheirs: (uid: number) => boolean): Promise<boolean> {
    return new Promise((answer) => {
      this.#questions.push({ inode, isTheirs, answer });
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#questions.length > 0) await pass(this.#questions.splice(0));
    this.#isRunning = false;
  }
}

async function pass(questions: readonly Question[]): Promise<void> {
  const open = new Set(questions);
  let since = performance.now();
  for (const pid of userProcesses()) {
    if (performance.now() - since > SLICE_MS) {
      await setImmediate();
      since = performance.now();
    }
    if (pid === process.pid) continue;
    const status = contentsOf(`/proc/${pid}/status`);
    if (isOfBroker(status)) continue;
    const theirs = [...open].filter(({ isTheirs }) => isTheirs(userIn(status)));
    const meant = isUnderFilter(pid, status) ? [...open] : theirs;
    if (meant.length === 0) continue;
    const inodes = inodesOf(pid);
    for (const question of meant) {
      // Who does not answer in time may have it, if it is theirs.
      if (inodes === "late" ? !theirs.includes(question) : !inodes.has(question.inode)) continue;
      question.answer(true);
      open.delete(question);
    }
  }
  for (const { answer } of open) answer(false);
}

/** Not the broker's own processes, which are under a filter as well. The broker itself has none. */
function isUnderFilter(pid: number, status: string): boolean {
  return /^Seccomp:\t2$/m.test(status) && !isOfBroker(status) && pid !== process.pid;
}

function copiesIn(pid: number, inode: bigint, isServers: boolean): Copies {
  try {
    return [...socketsOf(pid).values()].includes(inode) ? "some" : "none";
  } catch (error) {
    const mayHave = isLate(error) || isCode(error, "EACCES");
    return mayHave && isServers ? "unknown" : "none";
  }
}

/** "late": it does not answer in time, or too many others do not. */
function inodesOf(pid: number): ReadonlySet<bigint> | "late" {
  try {
    return new Set(socketsOf(pid).values());
  } catch (error) {
    return isLate(error) ? "late" : new Set();
  }
}

const isCode = (error: unknown, code: string): boolean => error instanceof SysError && error.errnoName === code;
const isLate = (error: unknown): boolean => isCode(error, "ETIMEDOUT") || isCode(error, "EAGAIN");

/** The effective user of a process, by its status. */
function userIn(status: string): number {
  return Number(/^Uid:\t\d+\t(\d+)/m.exec(status)?.[1] ?? -1);
}
