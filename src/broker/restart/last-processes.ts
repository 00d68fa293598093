/**
 * The keeper and the doormen of a broker that was killed: they close what they have of its sockets, and end, within
 * milliseconds. Until then the addresses are in use.
 */
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { processIdentity } from "../record/process-identity.ts";
import type { NotedProcess } from "./held-note.ts";

/** They take longer only if the machine is very slow. */
const END_MS = 2000;

/** A keeper or doorman, for the note of its broker. */
export function notedProcess(pid: number, pidfd: number): NotedProcess | undefined {
  const identity = processIdentity(pid, pidfd);
  return identity === undefined ? undefined : { pid, identity };
}

/** Resolves when those that an earlier broker noted have ended, or after a while. */
export async function awaitLastProcesses(noted: readonly NotedProcess[], sys: Native): Promise<void> {
  await Promise.all(noted.map((one) => awaitEnd(one, sys)));
}

async function awaitEnd(noted: NotedProcess, sys: Native): Promise<void> {
  const found = sys.pidfdOpen(noted.pid);
  if (found < 0) return;
  using pidfd = FdHandle.adopt(found, sys);
  if (processIdentity(noted.pid, pidfd.fd) !== noted.identity) return;
  let poll: Poll | undefined;
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, END_MS);
    poll = new sys.Poll(pidfd.fd, () => resolve());
    check("poll pidfd", poll.start(READABLE));
  }).finally(() => {
    clearTimeout(timer);
    poll?.close();
  });
}
