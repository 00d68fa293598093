/** What tells a process from every other that has had its number: when it began, and on which boot of the machine. */
import { readFileSync } from "node:fs";

/** Undefined when there is none of that number. Differs for two processes of one number (proc_pid_stat(5), starttime). */
export function processStart(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // After the name in parentheses, which may have any character, field 3 is the first; starttime is field 22.
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    return ticks === undefined ? undefined : `${bootId()}/${ticks}`;
  } catch {
    return undefined;
  }
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  return boot;
}
