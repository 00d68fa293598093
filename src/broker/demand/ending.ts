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
import type { Lease } from "../berths/berth/lease.ts";
import { processesOfGroup, processOf, type ServerProcess, signalProcess } from "../berths/server-processes.ts";

const { SIGKILL } = constants.signals;

/** How long a process may live after SIGKILL, in milliseconds. One that waits in the kernel lives on. */
const KILL_TIMEOUT_MS = 10_000;
/** When to look whether all have ended: at first, and at most. */
const FIRST_LOOK_MS = 10;
const LONGEST_LOOK_MS = 200;

/** How it went. asked: all ended without SIGKILL. left: these live although they got SIGKILL. */
export type EndingResult =
  | { readonly kind: "asked" | "killed" | "closed" }
  | { readonly kind: "left"; readonly pids: readonly number[] };

export interface EndingOptions {
  readonly sys: Native;
  readonly signal: number;
  /** Milliseconds until SIGKILL. */
  readonly timeout: number;
  /** All processes of the server that can be found. */
  readonly processes: () => Promise<readonly ServerProcess[]>;
  /** Which processes may get a signal; without it, all. */
  readonly may?: (pid: number) => boolean;
  /** Called when something was left to be killed. */
  readonly onKill: () => void;
}

export class Ending {
  /** Resolves when the lease and all its processes that were found have ended, or after {@link close}. */
  readonly done: Promise<EndingResult>;
  readonly #sys: Native;
  readonly #lease: Lease;
  /** Of its own: the lease ends with the tenant, and others of its group may live on. */
  readonly #pidfd: FdHandle;
  readonly #pid: number;
  /** The tenant's process group gets the signals as one. */
  readonly #isGroup: boolean;
  /** The group whose members are looked for, for not all of them may get the signals. */
  readonly #group: number | undefined;
  readonly #processes: EndingOptions["processes"];
  readonly #may: (pid: number) => boolean;
  /** Those that were found, and do not get the signals of the group. */
  #others: readonly ServerProcess[] = [];
  #timer: NodeJS.Timeout;
  #look: NodeJS.Timeout | undefined;
  #isKilled = false;
  #isClosed = false;
  #tell: (result: EndingResult) => void = () => undefined;

  /** Sends the first signal. `pidfd`: the tenant's, borrowed. */
  constructor(lease: Lease, pidfd: number, { sys, signal, timeout, processes, may, onKill }: EndingOptions) {
    this.#sys = sys;
    this.#lease = lease;
    this.#processes = processes;
    this.#pidfd = FdHandle.adopt(check("fcntl F_DUPFD_CLOEXEC", sys.dup(pidfd)), sys);
    this.#pid = lease.tenant.pid;
    const leads = leadsSession(this.#pid);
    this.#isGroup = leads && may === undefined;
    this.#group = leads && may !== undefined ? this.#pid : undefined;
    this.#may = may ?? (() => true);
    this.done = new Promise((resolve) => {
      this.#tell = resolve;
    });
    const reached = this.#signal(signal);
    void this.#find((one) => one.pid !== this.#pid && !(reached === "group" && one.group === this.#pid)).then(
      (found) => {
        for (const one of found) signalProcess(one, signal, sys);
        this.#await(FIRST_LOOK_MS);
      },
    );
    this.#timer = setTimeout(() => void this.#kill(onKill), timeout);
  }

  /** Kills nobody any more. Idempotent. */
  close(): void {
    this.#finish({ kind: "closed" });
  }

  #finish(result: EndingResult): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#look);
    this.#pidfd.close();
    this.#tell(result);
  }

  /** Looks from time to time whether all have ended. */
  #await(delay: number): void {
    if (this.#isClosed) return;
    if (this.#remaining().length === 0) return this.#finish({ kind: this.#isKilled ? "killed" : "asked" });
    this.#look = setTimeout(() => this.#await(Math.min(2 * delay, LONGEST_LOOK_MS)), delay);
  }

  /** Who is known to live. */
  #remaining(): number[] {
    const others = this.#others.filter(({ pid, since }) => processOf(pid)?.since === since).map(({ pid }) => pid);
    const known = this.#lease.ended ? others : [this.#lease.tenant.pid, ...others];
    // A look at all processes only where nothing else is left. A group has zombies, too.
    if (known.length > 0 || !this.#isGroup || this.#sys.pidfdSignalGroup(this.#pidfd.fd, 0) < 0) return known;
    return processesOfGroup(this.#pid).filter((pid) => pid !== this.#pid);
  }

  async #kill(onKill: () => void): Promise<void> {
    this.#isKilled = this.#signal(SIGKILL) !== "nobody";
    // What has the berth's sockets later may be of another lease.
    if (!this.#lease.ended) await this.#find(() => true);
    for (const one of this.#others) if (signalProcess(one, SIGKILL, this.#sys) >= 0) this.#isKilled = true;
    if (this.#isKilled) onKill();
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.#finish({ kind: "left", pids: this.#remaining() }), KILL_TIMEOUT_MS);
  }

  /** Looks for processes, unless it is closed meanwhile. */
  async #find(isMeant: (one: ServerProcess) => boolean): Promise<readonly ServerProcess[]> {
    const members =
      this.#group === undefined ? [] : processesOfGroup(this.#group).flatMap((pid) => processOf(pid) ?? []);
    const found = [...(await this.#processes()), ...members].filter((one) => isMeant(one) && this.#may(one.pid));
    const known = new Map([...this.#others, ...found].map((one) => [one.pid, one]));
    this.#others = this.#isClosed ? [] : [...known.values()];
    return this.#others;
  }

  /** Who got it. */
  #signal(number: number): "group" | "tenant" | "nobody" {
    const { fd } = this.#pidfd;
    // Before Linux 6.9 there is no signal to a group that cannot hit another one.
    if (this.#isGroup && this.#sys.pidfdSignalGroup(fd, number) >= 0) return "group";
    if (this.#lease.ended || !this.#may(this.#lease.tenant.pid)) return "nobody";
    return this.#sys.pidfdSignal(fd, number) >= 0 ? "tenant" : "nobody";
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
