/**
 * What happens to a lease when the main process of its server exits. A server that daemonises, or a master whose
 * workers go on, is still the same server: the oldest of its other processes is the main one from then on. The lease
 * ends with the last of them, or at once where `server.lease = "process"`. It finds no processes itself.
 */
import { FdHandle } from "../../fd.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { POLLIN } from "../../net/socket-constants.ts";
import type { Berth } from "./berth/berth.ts";
import type { BerthEvents } from "./berth/berth-events.ts";
import type { Lease } from "./berth/lease.ts";
import { TenantProcess } from "./berth/tenant-process.ts";
import type { Leases } from "./leases.ts";
import { processesOf, processOf } from "./server-processes.ts";

/** When to look again for a process of a server that has some, but none that could be found: at first, and at most. */
const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 5000;

export interface MainProcessesOptions {
  readonly sys: Native;
  readonly log: Log;
  readonly events: BerthEvents;
  readonly leases: Leases;
  /** Ends a lease; `why` is for the log. */
  readonly end: (berth: Berth, lease: Lease, why: string) => void;
}

export class MainProcesses {
  readonly #options: MainProcessesOptions;
  /** Leases whose next main process is searched for. */
  readonly #searched = new Set<Lease>();

  constructor(options: MainProcessesOptions) {
    this.#options = options;
  }

  /** More is known of the other processes of a lease's server. */
  look(id: string): void {
    const found = this.#options.leases.tenancyOf(id);
    if (found !== undefined) this.update(found.berth, found.lease);
  }

  /** The main process of this lease may have exited. */
  update(berth: Berth, lease: Lease): void {
    if (lease.ended || lease.hasMain) return;
    if ((lease.others?.() ?? "none") === "none") return this.#options.end(berth, lease, "it exited");
    if (this.#searched.has(lease)) return;
    this.#searched.add(lease);
    void this.#search(berth, lease, FIRST_DELAY_MS);
  }

  async #search(berth: Berth, lease: Lease, delay: number): Promise<void> {
    const found = await processesOf(berth, lease);
    if (
      lease.ended ||
      lease.hasMain ||
      found.some((one) => !one.isConsole && this.#pass(berth, lease, one.pid, one.since))
    )
      return void this.#searched.delete(lease);
    if (lease.others?.() === "some") {
      const again = (): void => void this.#search(berth, lease, Math.min(2 * delay, LONGEST_DELAY_MS));
      return void setTimeout(again, delay).unref();
    }
    this.#searched.delete(lease);
    this.#options.end(berth, lease, "it exited");
  }

  /** The main process is another one from now on, as the former one wished. Owns the pidfd. */
  leave(berth: Berth, lease: Lease, pid: number, pidfd: FdHandle): void {
    this.#hand(berth, lease, pid, pidfd, `pid ${lease.tenant.pid} leaves the berth to its container`);
  }

  /** False when that process has exited meanwhile. */
  #pass(berth: Berth, lease: Lease, pid: number, since: number): boolean {
    const { sys } = this.#options;
    const opened = sys.pidfdOpen(pid);
    if (opened < 0) return false;
    using pidfd = FdHandle.adopt(opened, sys);
    // In this order: if it lives after its number was looked at, the number was its own.
    if (processOf(pid)?.since !== since || sys.pollNow(pidfd.fd, POLLIN) !== 0) return false;
    this.#hand(berth, lease, pid, pidfd.move(), `pid ${lease.tenant.pid} exited, and its server goes on`);
    return true;
  }

  #hand(berth: Berth, lease: Lease, pid: number, pidfd: FdHandle, why: string): void {
    const { sys, log, events, leases } = this.#options;
    const former = lease.tenant.pid;
    leases.pass(lease, pid, TenantProcess.watch(pidfd, sys));
    const message = `berth ${berth.name}: ${why}: pid ${pid} has the berth`;
    log("info", message, { event: "passed", berth: berth.name, lease: lease.id, pid, former });
    berth.generation++;
    events.change("changed", berth);
  }
}
