/**
 * Ends a server: a signal that asks, and SIGKILL for what is left after a time. If a script starts the server without
 * `exec`, the script is the tenant and the server its child. So both signals go to the process group of a tenant that
 * leads a session, as the broker starts them. What leaves that group is not found.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { Lease } from "../berths/lease.ts";

const { ESRCH } = constants.errno;
const { SIGKILL } = constants.signals;

export interface EndingOptions {
  readonly sys: Native;
  readonly signal: number;
  /** Milliseconds until SIGKILL. */
  readonly timeout: number;
  /** Called when something was left to be killed. */
  readonly onKill: () => void;
}

export class Ending {
  readonly #sys: Native;
  readonly #lease: Lease;
  /** Of its own: the lease ends with the tenant, and others of its group may live on. */
  readonly #pidfd: FdHandle;
  readonly #isGroup: boolean;
  readonly #timer: NodeJS.Timeout;

  /** Sends the first signal. `pidfd`: the tenant's, borrowed. */
  constructor(lease: Lease, pidfd: number, { sys, signal, timeout, onKill }: EndingOptions) {
    this.#sys = sys;
    this.#lease = lease;
    this.#pidfd = FdHandle.adopt(check("fcntl F_DUPFD_CLOEXEC", sys.dup(pidfd)), sys);
    this.#isGroup = leadsSession(lease.tenant.pid);
    this.#signal(signal);
    this.#timer = setTimeout(() => {
      if (this.#signal(SIGKILL) >= 0) onKill();
      this.close();
    }, timeout);
  }

  /** Kills nobody any more. Idempotent. */
  close(): void {
    clearTimeout(this.#timer);
    this.#pidfd.close();
  }

  #signal(number: number): number {
    const { fd } = this.#pidfd;
    const sent = this.#isGroup ? this.#sys.pidfdSignalGroup(fd, number) : -1;
    // Before Linux 6.9 there is no signal to a group that cannot hit another one.
    if (sent >= 0) return sent;
    return this.#lease.ended ? -ESRCH : this.#sys.pidfdSignal(fd, number);
  }
}

/** Whether the process is the leader of its process group and of its session (proc_pid_stat(5)). */
function leadsSession(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // After the name, which may have spaces and parentheses: state, ppid, pgrp, session.
    const [, , group, session] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return Number(group) === pid && Number(session) === pid;
  } catch {
    return false; // it has ended, or is hidden from us
  }
}
