/**
 * What the processes of a server use: its main process, what that has started, and what is in its session, as a server
 * that went into the background is. By /proc/PID/stat (proc_pid_stat(5)), which anybody may read. Pure but for the
 * reader.
 */
import { readdirSync, readFileSync } from "node:fs";
import { endianness } from "node:os";

/** Ticks per second of the times in /proc: USER_HZ, which is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
/** AT_PAGESZ in /proc/self/auxv (getauxval(3)). */
const AT_PAGESZ = 6n;

export interface ProcessUse {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
  /** Seconds of processor time so far. */
  readonly seconds: number;
  /** Resident bytes. */
  readonly memory: number;
}

export interface Use {
  readonly seconds: number;
  readonly memory: number;
  readonly processes: number;
}

/** Every process that there is. */
export function readProcesses(): ProcessUse[] {
  const page = pageSize(readFileSync("/proc/self/auxv"));
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return processOf(readFileSync(`/proc/${name}/stat`, "latin1"), page) ?? [];
    } catch {
      return []; // it has exited
    }
  });
}

/** Bytes of a page of memory: pairs of a type and a value. */
function pageSize(auxv: Buffer): number {
  for (let at = 0; at + 16 <= auxv.length; at += 16)
    if (native64(auxv, at) === AT_PAGESZ) return Number(native64(auxv, at + 8));
  return 4096;
}

function native64(bytes: Buffer, at: number): bigint {
  return endianness() === "LE" ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at);
}

/** One line of /proc/PID/stat, on a machine with pages of so many bytes. */
export function processOf(stat: string, page: number): ProcessUse | undefined {
  const end = stat.lastIndexOf(")");
  // After the name, which may have any character, comes field 3.
  const field = stat.slice(end + 2).split(" ");
  const at = (number: number): number => Number(field[number - 3]);
  const use = { pid: Number.parseInt(stat, 10), parent: at(4), session: at(6) };
  const [seconds, memory] = [(at(14) + at(15)) / TICKS_PER_SECOND, at(24) * page];
  return end < 0 || Number.isNaN(seconds) || Number.isNaN(memory) ? undefined : { ...use, seconds, memory };
}

/** What the server whose main process this is uses. Undefined when that has exited. */
export function useOf(main: number, processes: readonly ProcessUse[]): Use | undefined {
  const first = processes.find(({ pid }) => pid === main);
  if (first === undefined) return undefined;
  const family = new Set([main]);
  for (let size = 0; size < family.size; ) {
    size = family.size;
    for (const { pid, parent } of processes) if (family.has(parent)) family.add(pid);
  }
  const own = processes.filter(({ pid, session }) => family.has(pid) || (first.session === main && session === main));
  return {
    seconds: own.reduce((sum, { seconds }) => sum + seconds, 0),
    memory: own.reduce((sum, { memory }) => sum + memory, 0),
    processes: own.length,
  };
}
