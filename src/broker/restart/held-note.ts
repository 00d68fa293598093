/**
 * The inodes of the sockets a broker holds, and its keeper and doormen, in the lock file of its control socket. So the
 * next broker knows the sockets again in the hands of a tenant even if the record of leases is lost, and waits until
 * those processes have closed their copies. It replaces the text of that file and nothing else.
 */
import { fstatSync, ftruncateSync, readSync, writeSync } from "node:fs";
import { bootId } from "../record/process-identity.ts";

/** Of a longer note nothing is believed. */
const MAX_BYTES = 1 << 20;

/** A process, and what identifies it among all of this boot: see processIdentity. */
export interface NotedProcess {
  readonly pid: number;
  readonly identity: string;
}

export interface HeldNote {
  readonly inodes: ReadonlySet<bigint>;
  /** The keeper, and the doormen. */
  readonly processes: readonly NotedProcess[];
}

const NOTHING: HeldNote = { inodes: new Set(), processes: [] };

/** What the last broker noted since the machine started. `lock` is the locked file. */
export function readHeldNote(lock: number): HeldNote {
  const { size } = fstatSync(lock);
  if (size > MAX_BYTES) return NOTHING;
  const bytes = Buffer.alloc(size);
  const [boot, ...words] = bytes
    .toString("latin1", 0, readSync(lock, bytes, 0, size, 0))
    .trim()
    .split(/\s+/);
  if (boot !== bootId()) return NOTHING;
  const processes = words.flatMap((word) => {
    const [, pid, identity = ""] = /^(?:keeper|doorman):(\d{1,10}):(\S+)$/.exec(word) ?? [];
    return pid === undefined ? [] : [{ pid: Number(pid), identity: identity.replaceAll("_", " ") }];
  });
  return {
    inodes: new Set(words.filter((text) => /^\d{1,20}$/.test(text)).map(BigInt)),
    processes,
  };
}

/** Throws when the disk is full. */
export function writeHeldNote(
  lock: number,
  inodes: readonly bigint[],
  keeper?: NotedProcess,
  doormen: readonly NotedProcess[] = [],
): void {
  const word = (what: string, { pid, identity }: NotedProcess): string =>
    ` ${what}:${pid}:${identity.replaceAll(" ", "_")}`;
  const kept = keeper === undefined ? "" : word("keeper", keeper);
  const text = `${bootId()} ${inodes.join(" ")}${kept}${doormen.map((one) => word("doorman", one)).join("")}\n`;
  ftruncateSync(lock, 0);
  writeSync(lock, text, 0, "latin1");
}
