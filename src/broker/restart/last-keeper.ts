/**
 * The keeper of a broker that was killed: it closes what that broker shared, and ends, within milliseconds. Until then
 * the addresses are in use.
 */
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { processIdentity } from "../record/process-identity.ts";
import type { NotedProcess } from "./held-note.ts";

/** A keeper takes longer only if the machine is very slow. */
const END_MS = 2000;

/** A keeper, for the note of its broker. */
export function notedKeeper(pid: number, pidfd: number): NotedProcess | undefined {
  const identity = processIdentity(pid, pidfd);
  return identity === undefined ? undefined : { pid, identity };
}

/** Resolves when the keeper that an earlier broker noted has ended, or after a while. */
export async function awaitLastKeeper(noted: NotedProcess | undefined, sys: Native): Promise<void> {
  const found = noted === undefined ? -1 : sys.pidfdOpen(noted.pid);
  if (noted === undefined || found < 0) return;
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
