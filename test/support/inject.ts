/** What happens to a process at one of its system calls, by strace(1). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/**
 * Tampers with a system call of a running process, as `what` says (strace(1), `-e inject`): `signal=SIGKILL:when=2`
 * ends it where one of its threads enters the call for the second time from now. Resolves, once strace waits for that,
 * with what ends strace: the process goes on as if it had not been there.
 */
export async function inject(pid: number, syscall: string, what: string): Promise<() => Promise<void>> {
  const options = ["-f", "-p", String(pid), "-e", `trace=${syscall}`, "-e", `inject=${syscall}:${what}`];
  const strace = spawn("strace", [...options, "-o", "/dev/null"], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(strace, "close");
  const { stderr } = strace;
  if (stderr === null) throw new Error("no output");
  for await (const line of createInterface(stderr)) if (/attached/.test(line)) break;
  return async () => {
    strace.kill("SIGKILL");
    await ended;
  };
}
