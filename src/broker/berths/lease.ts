/** A tenant's hold on a berth. It ends when the tenant says so or dies: its pidfd becomes readable (pidfd_open(2)). */
import { randomBytes } from "node:crypto";
import { fstatSync } from "node:fs";
import { constants } from "node:os";
import { check } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import type { StoredCopy } from "../record/stored-copy.ts";
import type { TenantWatchdog } from "./tenant-watchdog.ts";

const { ESRCH } = constants.errno;

/** Who holds the lease, as the kernel told at connect. */
export interface Tenant {
  readonly pid: number;
  readonly uid: number;
  readonly unit: string | undefined;
}

export class Lease {
  /** Random, unique, and no secret: knowing it gives no right. */
  readonly id: string;
  readonly tenant: Tenant;
  /** The tenant has said that it serves. */
  ready = false;
  /** Its copy outside of the broker. */
  storedCopy: StoredCopy | undefined;
  readonly #sys: Native;
  /** What the tenant says of itself, sd_notify(3). */
  status: string | undefined;
  /** Set while the tenant has to say that it is alive. */
  watchdog: TenantWatchdog | undefined;
  #pidfd: FdHandle | undefined;
  #poll: Poll | undefined;

  /**
   * Takes ownership of the pidfd; `onDeath` is called once, when the tenant has died and the lease had not ended. `id`
   * is that of a lease which an earlier broker gave.
   */
  constructor(
    tenant: Tenant,
    pidfd: FdHandle,
    sys: Native,
    onDeath: () => void,
    id: string = randomBytes(8).toString("hex"),
  ) {
    this.id = id;
    this.tenant = tenant;
    this.#sys = sys;
    this.#pidfd = pidfd;
    this.#poll = new sys.Poll(pidfd.fd, () => {
      this.end();
      onDeath();
    });
    const result = this.#poll.start(READABLE);
    if (result < 0) this.end();
    check("poll pidfd", result);
  }

  get ended(): boolean {
    return this.#pidfd === undefined;
  }

  /** Sends a signal to the tenant, and to nobody who has its pid after it. 0 or -errno. */
  signal(number: number): number {
    return this.#pidfd === undefined ? -ESRCH : this.#sys.pidfdSignal(this.#pidfd.fd, number);
  }

  /**
   * Whether a pidfd is the tenant's. Where pidfds have no inodes of their own (before Linux 6.9), any is taken for it.
   */
  isOf(pidfd: number): boolean {
    return this.#pidfd !== undefined && fstatSync(this.#pidfd.fd).ino === fstatSync(pidfd).ino;
  }

  /** The tenant's pidfd, borrowed; undefined when the lease has ended. */
  get pidfd(): number | undefined {
    return this.#pidfd?.fd;
  }

  /** Ignores that the tenant exits, and its watchdog, until {@link resume}. */
  pause(): void {
    this.#poll?.start(0);
    this.watchdog?.pause();
  }

  resume(): void {
    this.#poll?.start(READABLE);
    this.watchdog?.alive();
  }

  /** Lets go of the tenant, and of the copy. Idempotent. */
  end(): void {
    this.watchdog?.close();
    this.storedCopy?.drop();
    this.storedCopy = undefined;
    this.#poll?.close();
    this.#poll = undefined;
    this.#pidfd?.close();
    this.#pidfd = undefined;
  }
}
