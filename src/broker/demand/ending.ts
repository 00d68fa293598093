/**
 * Ends a server: a signal that asks, and SIGKILL for what is left after a time. If a script starts the server without
 * `exec`, the script is the tenant and the server its child. So both signals go to the process group of a tenant that
 * leads a session, as the broker starts them, and to the server's processes that have left that group.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import type { Lease } from "../berths/lease.ts";
import { type ServerProcess, signalProcess } from "../berths/server-processes.ts";

const { SIGKILL } = constants.signals;

export interface EndingOptions {
  readonly sys: Native;
  readonly signal: number;
  /** Milliseconds until SIGKILL. */
  readonly timeout: number;
  /** All processes of the server that can be found. */
  readonly processes: () => Promise<readonly ServerProcess[]>;
  /** Called when something was left to be killed. */
  readonly onKill: () => void;
}

export class Ending {
  readonly #sys: Native;
  readonly #lease: Lease;
  /** Of its own: the lease ends with the tenant, and others of its group may live on. */
  readonly #pidfd: FdHandle;
  readonly #isGroup: boolean;
  readonly #processes: EndingOptions["processes"];
  /** Those that were found, and do not get the signals of the group. */
  #others: readonly ServerProcess[] = [];
  readonly #timer: NodeJS.Timeout;
  #isClosed = false;

  /** Sends the first signal. `pidfd`: the tenant's, borrowed. */
  constructor(lease: Lease, pidfd: number, { sys, signal, timeout, processes, onKill }: EndingOptions) {
    this.#sys = sys;
    this.#lease = lease;
    this.#processes = processes;
    this.#pidfd = FdHandle.adopt(check("fcntl F_DUPFD_CLOEXEC", sys.dup(pidfd)), sys);
    const { pid } = lease.tenant;
    this.#isGroup = leadsSession(pid);
    const reached = this.#signal(signal);
    void this.#find((one) => one.pid !== pid && !(reached === "group" && one.group === pid)).then((found) => {
      for (const one of found) signalProcess(one, signal, sys);
    });
    this.#timer = setTimeout(() => void this.#kill(onKill), timeout);
  }

  /** Kills nobody any more. Idempotent. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#pidfd.close();
  }

  async #kill(onKill: () => void): Promise<void> {
    let isKilled = this.#signal(SIGKILL) !== "nobody";
    // What has the berth's sockets later may be of another lease.
    if (!this.#lease.ended) await this.#find(() => true);
    for (const one of this.#others) if (signalProcess(one, SIGKILL, this.#sys) >= 0) isKilled = true;
    if (isKilled) onKill();
    this.close();
  }

  /** Looks for processes, unless it is closed meanwhile. */
  async #find(isMeant: (one: ServerProcess) => boolean): Promise<readonly ServerProcess[]> {
    const found = (await this.#processes()).filter(isMeant);
    this.#others = this.#isClosed ? [] : [...this.#others, ...found];
    return this.#others;
  }

  /** Who got it. */
  #signal(number: number): "group" | "tenant" | "nobody" {
    const { fd } = this.#pidfd;
    // Before Linux 6.9 there is no signal to a group that cannot hit another one.
    if (this.#isGroup && this.#sys.pidfdSignalGroup(fd, number) >= 0) return "group";
    return !this.#lease.ended && this.#sys.pidfdSignal(fd, number) >= 0 ? "tenant" : "nobody";
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
