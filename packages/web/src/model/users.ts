/** Names of users, and since when a process runs. Both are for everybody to read. */
import { readFileSync } from "node:fs";
import { clean } from "./text.ts";

/** How long the names are kept, and whom a process runs as. */
const KEEP_MS = 60_000;
const PROCESS_KEEP_MS = 5_000;

export class Users {
  #names: ReadonlyMap<number, string> = new Map();
  #readAt = Number.NEGATIVE_INFINITY;
  #processes = new Map<number, string>();
  #processesAt = Number.NEGATIVE_INFINITY;

  /** The user's name in /etc/passwd, else the number. */
  nameOf(uid: number): string {
    if (performance.now() - this.#readAt > KEEP_MS) {
      this.#readAt = performance.now();
      this.#names = readNames();
    }
    return this.#names.get(uid) ?? String(uid);
  }

  /** Whom a process runs as now: a launcher takes the berth with the privilege that it then drops. */
  ofProcess(pid: number, otherwise: number): string {
    if (performance.now() - this.#processesAt > PROCESS_KEEP_MS) {
      this.#processesAt = performance.now();
      this.#processes.clear();
    }
    const known = this.#processes.get(pid);
    if (known !== undefined) return known;
    const uid = /^Uid:\t\d+\t(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1];
    const name = this.nameOf(uid === undefined ? otherwise : Number(uid));
    this.#processes.set(pid, name);
    return name;
  }
}

function readNames(): Map<number, string> {
  const lines = read("/etc/passwd").split("\n");
  return new Map(
    lines.flatMap((line) => {
      const [name, , uid] = line.split(":");
      return name && uid ? [[Number(uid), clean(name, 40)] as const] : [];
    }),
  );
}

/** When a process began, in milliseconds since 1970 (proc(5)); null if that cannot be seen. */
export function startOfProcess(pid: number): number | null {
  const boot = /^btime (\d+)$/m.exec(read("/proc/stat"))?.[1];
  // After the name, which may hold anything in parentheses: the state is the third field, starttime the 22nd.
  const fields = read(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ");
  const ticks = fields?.[19];
  if (boot === undefined || ticks === undefined) return null;
  return Number(boot) * 1000 + Number(ticks) * 10; // USER_HZ is 100 everywhere
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
