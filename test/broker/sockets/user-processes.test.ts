/** All processes that may have a descriptor are found, and threads of the kernel are left out. */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { userProcesses } from "../../../src/broker/sockets/holders/user-processes.ts";

/** A kernel without CONFIG_PROC_CHILDREN does not tell which are its threads; in a PID namespace there are none. */
const isTold = existsSync("/proc/2/task/2/children") || !isOfKernel(2);

/** By its flag: PF_KTHREAD in field 9 of proc_pid_stat(5). */
function isOfKernel(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[6]) & 0x200000) !== 0;
  } catch {
    return false; // it has exited
  }
}

it("lists this process and its parent, and no thread of the kernel but kthreadd", () => {
  const found = userProcesses();
  expect(found).toContain(process.pid);
  expect(found).toContain(process.ppid);
  // A thread of the kernel that is made between two looks at /proc is a user process as far as this can tell.
  const left = found.filter((pid) => pid !== 2 && isOfKernel(pid));
  expect(left.length).toBeLessThan(isTold ? 3 : Number.POSITIVE_INFINITY);
});
