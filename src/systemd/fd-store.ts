/**
 * The service manager's store of descriptors (systemd.service(5), FileDescriptorStoreMax=). A stored descriptor
 * outlives this process. The manager passes it to the next process by socket activation, under the same name.
 * The manager drops descriptors above the limit silently (hazard 38), so this file counts them.
 */
import { spawnSync } from "node:child_process";
import { BerthError } from "../errors.ts";
import { isListenFdName } from "../launch/listen-fds.ts";
import type { ManagerSocket } from "./manager-socket.ts";

/**
 * The most bytes that all stored names may have together. All names come back in one environment variable. If it
 * exceeds MAX_ARG_STRLEN (131,072), the manager cannot start the service again (execve(2)). The 8192 bytes are for
 * descriptors of .socket units.
 */
export const MAX_NAMES_BYTES: number = 131_072 - 8192;
/** How long to wait until the manager closes removed descriptors, or answers a query. */
const MANAGER_TIMEOUT_MS = 3000;

/** Why a descriptor is not in the store. */
export type NotStored = "full" | "unreachable";

/** Where a broker stores descriptors that must outlive its process. */
export interface DescriptorStore {
  /** The most descriptors it keeps. */
  readonly max: number;
  /** How many descriptors are in it. */
  readonly count: number;
  has(name: string): boolean;
  /** Counts a descriptor that an earlier process stored, and that this process received. */
  recall(name: string): void;
  /** Stores duplicates of `fds` under one name. They outlive this process as soon as this returns undefined. */
  add(name: string, fds: readonly number[]): NotStored | undefined;
  /** Removes all descriptors of that name. They may be closed later: see {@link settle}. */
  remove(name: string): void;
  /** Waits until removed descriptors are closed, so that their addresses are free. False if some are still open. */
  settle(): boolean;
  /** As {@link settle}, without blocking the event loop. */
  settled?(): Promise<boolean>;
}

/** The store of the service manager that started this process. */
export class FdStore implements DescriptorStore {
  readonly max: number;
  readonly #manager: ManagerSocket;
  /** How many descriptors have each name. */
  readonly #stored = new Map<string, number>();
  #count = 0;
  #bytes = 0;
  /** The manager may not have closed a removed descriptor yet. */
  #removalPending = false;

  constructor(manager: ManagerSocket, max: number) {
    this.#manager = manager;
    this.max = max;
  }

  get count(): number {
    return this.#count;
  }

  has(name: string): boolean {
    return this.#stored.has(name);
  }

  recall(name: string): void {
    this.#stored.set(name, (this.#stored.get(name) ?? 0) + 1);
    this.#count++;
    this.#bytes += name.length + 1;
  }

  /**
   * systemd does not store an open file twice: to do that, wrap the descriptor.
   */
  add(name: string, fds: readonly number[]): NotStored | undefined {
    if (name === "" || !isListenFdName(name))
      throw new BerthError("USAGE", `${JSON.stringify(name)} cannot be the name of a descriptor`);
    const bytes = (name.length + 1) * fds.length;
    if (this.#count + fds.length > this.max || this.#bytes + bytes > MAX_NAMES_BYTES) return "full";
    try {
      // FDPOLL=0: systemd must not drop a socket that a tenant shut down. The broker repairs it when the lease ends.
      this.#manager.send(`FDSTORE=1\nFDPOLL=0\nFDNAME=${name}`, fds);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      return "unreachable";
    }
    for (const _ of fds) this.recall(name);
    return undefined;
  }

  remove(name: string): void {
    const count = this.#stored.get(name);
    if (count === undefined) return;
    try {
      this.#manager.send(`FDSTOREREMOVE=1\nFDNAME=${name}`);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      return; // It is still in the store, so it stays counted. The next process closes it.
    }
    this.#stored.delete(name);
    this.#count -= count;
    this.#bytes -= (name.length + 1) * count;
    this.#removalPending = true;
  }

  settle(): boolean {
    if (!this.#removalPending) return true;
    try {
      this.#removalPending = !this.#manager.barrierSync(MANAGER_TIMEOUT_MS);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
    }
    return !this.#removalPending;
  }

  async settled(): Promise<boolean> {
    try {
      return !this.#removalPending || (await this.#manager.barrier(MANAGER_TIMEOUT_MS));
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      return false;
    }
  }
}

/**
 * How many descriptors the manager stores for this service. systemd 254 and later set $FDSTORE. An older systemd is
 * asked about `unit`. Undefined means that no store is available.
 */
export function fdStoreMax(env: NodeJS.ProcessEnv, unit: string | undefined): number | undefined {
  const max = env["FDSTORE"];
  if (max !== undefined) return /^[0-9]{1,9}$/.test(max) ? Number(max) : undefined;
  if (unit === undefined) return undefined;
  const manager = process.geteuid?.() === 0 ? "--system" : "--user";
  const { stdout, status } = spawnSync(
    "systemctl",
    [manager, "show", "--property=FileDescriptorStoreMax", "--value", "--", unit],
    { encoding: "utf8", timeout: MANAGER_TIMEOUT_MS, stdio: ["ignore", "pipe", "ignore"] },
  );
  return status === 0 && /^[0-9]{1,9}\n$/.test(stdout) ? Number(stdout) : undefined;
}
