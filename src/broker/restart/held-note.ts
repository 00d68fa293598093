/**
 * The inodes of the sockets a broker holds, and its keeper, in the lock file of its control socket. So the next broker
 * knows the sockets again in the hands of a tenant even if the record of leases is lost, and waits until the keeper has
 * closed its copies. It replaces the text of that file and nothing else.
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
  readonly keeper: NotedProcess | undefined;
}

const NOTHING: HeldNote = { inodes: new Set(), keeper: undefined };

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
  const [, pid, identity = ""] = /(?:^| )keeper:(\d{1,10}):(\S+)/.exec(words.join(" ")) ?? [];
  return {
    inodes: new Set(words.filter((text) => /^\d{1,20}$/.test(text)).map(BigInt)),
    keeper: pid === undefined ? undefined : { pid: Number(pid), identity: identity.replaceAll("_", " ") },
  };
}

/** Throws when the disk is full. */
export function writeHeldNote(lock: number, inodes: readonly bigint[], keeper?: NotedProcess): void {
  const process = keeper && ` keeper:${keeper.pid}:${keeper.identity.replaceAll(" ", "_")}`;
  const text = `${bootId()} ${inodes.join(" ")}${process ?? ""}\n`;
  ftruncateSync(lock, 0);
  writeSync(lock, text, 0, "latin1");
}
