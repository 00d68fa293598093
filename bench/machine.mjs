/** What the figures were measured on, and the one core for everything. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release } from "node:os";

/** `load` is the one-minute average before anything of the benchmark ran: what else the machine was doing. */
export function describeMachine() {
  const [load] = loadavg();
  const cores = availableParallelism();
  return { kernel: release(), cpu: cpus()[0].model.trim(), cores, node: process.version, core: lastCore(), load };
}

/** The last CPU this process may run on: the first ones have most of a machine's interrupts. */
function lastCore() {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1];
  return Number(list.split(/[,-]/).at(-1));
}
