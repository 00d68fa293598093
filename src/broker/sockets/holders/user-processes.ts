/**
 * Which processes there are, without threads of the kernel: those have no descriptors, and are the most on a small
 * machine. They are the children of kthreadd, and so are the programs that the kernel starts itself.
 */
import { readdirSync } from "node:fs";
import { contentsOf } from "../../access/small-file.ts";

const KTHREADD = 2;
/** Of field 9 of proc_pid_stat(5): include/linux/sched.h. */
const PF_KTHREAD = 0x200000;

export function userProcesses(): number[] {
  const pids = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
  const others = childrenOfKthreadd();
  return others.size === 0 ? pids : pids.filter((pid) => !others.has(pid));
}

/** Whether it is a guard or a doorman of the broker, by the name in its /proc/PID/status. */
export function isOfBroker(status: string): boolean {
  return /^Name:\tberth-(?:guard|doorman)/.test(status);
}

function childrenOfKthreadd(): ReadonlySet<number> {
  // In a PID namespace another process may have its number.
  const stat = contentsOf(`/proc/${KTHREADD}/stat`);
  const [, , , , , , flags] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if ((Number(flags ?? 0) & PF_KTHREAD) === 0) return new Set();
  return new Set(contentsOf(`/proc/${KTHREADD}/task/${KTHREADD}/children`).split(" ").map(Number));
}
