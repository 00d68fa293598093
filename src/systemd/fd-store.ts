/**
 * The service manager's store of descriptors (systemd.service(5), FileDescriptorStoreMax=): what is put there outlives
 * this process, and is passed to the next one by socket activation, under the name it was given. What exceeds the
 * store the manager drops without a word (hazard 38), so what is in it is counted here.
 */
import { spawnSync } from "node:child_process";
import { BerthError } from "../errors.ts";
import { isListenFdName } from "../launch/listen-fds.ts";
import type { ManagerSocket } from "./manager-socket.ts";

/**
 * Bytes that the names of all stored descriptors may have together: they come back in one environment variable, and
 * where that exceeds MAX_ARG_STRLEN of 131,072 the manager could not start the service again (execve(2)). The rest is
 * for descriptors of .socket units.
 */
const MAX_NAMES = 131_072 - 8192;
/** How long to wait for the manager to let go of a descriptor, in milliseconds. */
const PATIENCE = 3000;

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
}

/** The store of the service manager that started this process. */
export class FdStore implements DescriptorStore {
  readonly max: number;
  readonly #manager: ManagerSocket;
  /** How many descriptors have each name. */
  readonly #stored = new Map<string, number>();
  #count = 0;
  #bytes = 0;
  /** Something was removed, and the manager may not have closed it yet. */
  #unsettled = false;

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
   * A descriptor of an open file that is in the store already is not stored again, by systemd's rule: wrap it.
   */
  add(name: string, fds: readonly number[]): NotStored | undefined {
    if (name === "" || !isListenFdName(name))
      throw new BerthError("USAGE", `${JSON.stringify(name)} cannot be the name of a descriptor`);
    const bytes = (name.length + 1) * fds.length;
    if (this.#count + fds.length > this.max || this.#bytes + bytes > MAX_NAMES) return "full";
    try {
      // Not to be watched for a hang-up: what a tenant has shut down is repaired when its lease ends.
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
      return; // it stays counted, for it is there; the next process throws it away
    }
    this.#stored.delete(name);
    this.#count -= count;
    this.#bytes -= (name.length + 1) * count;
    this.#unsettled = true;
  }

  settle(): boolean {
    if (!this.#unsettled) return true;
    try {
      this.#unsettled = !this.#manager.settle(PATIENCE);
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
    }
    return !this.#unsettled;
  }
}

/**
 * How many descriptors the manager keeps for this service: it says so in $FDSTORE from systemd 254 on, and before when
 * it is asked about `unit`. Undefined where neither is so: then there is no store to rely on.
 */
export function fdStoreMax(env: NodeJS.ProcessEnv, unit: string | undefined): number | undefined {
  const said = env["FDSTORE"];
  if (said !== undefined) return /^[0-9]{1,9}$/.test(said) ? Number(said) : undefined;
  if (unit === undefined) return undefined;
  const manager = process.geteuid?.() === 0 ? "--system" : "--user";
  const { stdout, status } = spawnSync(
    "systemctl",
    [manager, "show", "--property=FileDescriptorStoreMax", "--value", "--", unit],
    { encoding: "utf8", timeout: PATIENCE, stdio: ["ignore", "pipe", "ignore"] },
  );
  return status === 0 && /^[0-9]{1,9}\n$/.test(stdout) ? Number(stdout) : undefined;
}
