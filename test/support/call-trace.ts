/** The system calls of running processes and of their children, by strace(1). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";

export interface TracedCall {
  /** As strace prints it: name, arguments and result. */
  readonly text: string;
  readonly name: string;
}

/**
 * Calls that depend on the moment: memory and threads of Node, how often it looks for events, what a signal repeats.
 */
const NOISE = new Set([
  ...["brk", "madvise", "mmap", "mprotect", "mremap", "munmap", "futex", "sched_yield", "getrusage"],
  ...["clock_gettime", "epoll_pwait", "epoll_wait", "restart_syscall", "rt_sigreturn"],
]);

/**
 * Begins to trace these processes, and what they fork from now on, into files that begin with `file`. Resolves, once
 * strace sees all of them, with what ends the trace, and gives each thread's calls by its number.
 */
export async function traceCalls(
  pids: readonly number[],
  file: string,
): Promise<() => Promise<ReadonlyMap<number, readonly TracedCall[]>>> {
  // A file for each, for in one of all a call is cut in two where another one comes between.
  const options = ["-ff", "-s", "256", "-o", file, ...pids.flatMap((pid) => ["-p", String(pid)])];
  const strace = spawn("strace", options, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(strace, "close");
  const { stderr } = strace;
  if (stderr === null) throw new Error("no output");
  const missing = new Set(pids);
  await new Promise<void>((resolve, reject) => {
    createInterface(stderr)
      .on("line", (line) => {
        missing.delete(Number(/Process (\d+) attached/.exec(line)?.[1]));
        if (missing.size === 0) resolve();
      })
      .on("close", () => reject(new Error(`strace cannot trace ${[...missing].join(", ")}`)));
  });
  return async () => {
    strace.kill("SIGINT");
    await ended;
    const names = readdirSync(dirname(file)).filter((name) => name.startsWith(`${basename(file)}.`));
    const read = (name: string): readonly TracedCall[] =>
      readFileSync(join(dirname(file), name), "latin1")
        .split("\n")
        .flatMap(parse);
    return new Map(names.map((name) => [Number(name.slice(basename(file).length + 1)), read(name)]));
  };
}

function parse(text: string): TracedCall[] {
  const name = /^(\w+)\(/.exec(text)?.[1];
  return name === undefined || NOISE.has(name) ? [] : [{ text, name }];
}
