/**
 * What is written down of leases, in a folder beside the control socket: a file for each, there as long as the lease is.
 * A broker that is gone leaves it behind, however it went, and the next one finds by it the tenants that still live, and
 * in them the sockets they hold (reclaim.ts). It has no descriptors, and nobody asks it while the broker lives.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../errors.ts";
import type { Native } from "../native.ts";
import { POLLIN } from "../socket-constants.ts";
import type { Berth } from "./berth.ts";
import type { Lease } from "./lease.ts";
import { decodeLeaseFacts, type LeaseFacts } from "./lease-facts.ts";
import type { Log } from "./log.ts";
import { processStart } from "./process-start.ts";
import { socketName } from "./stored-name.ts";

/** A lease as it stands in its file. */
export interface LedgerEntry {
  readonly berth: string;
  readonly lease: string;
  readonly facts: LeaseFacts;
  /** {@link processStart} of the tenant. */
  readonly start: string;
  /** The berth's sockets, under the names they would have in a service manager's store. */
  readonly sockets: readonly string[];
}

export interface LedgerOptions {
  readonly sys: Native;
  readonly log: Log;
}

const LEASE_ID = /^[0-9a-f]{16}$/;

export class Ledger {
  readonly #folder: string;
  readonly #options: LedgerOptions;
  /** What stands in the file of each lease, and whose lease it is. */
  readonly #written = new Map<string, { readonly berth: string; readonly text: string }>();
  readonly #starts = new WeakMap<Lease, string>();
  #begun = false;
  #complained = false;

  private constructor(folder: string, options: LedgerOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Opens the folder, which is made if need be. Throws when it cannot be had, or when others could write there. */
  static open(folder: string, options: LedgerOptions): Ledger {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    if (!found.isDirectory() || found.uid !== process.geteuid?.() || (found.mode & 0o077) !== 0)
      throw new BerthError("SYSTEM_ERROR", `${folder} is not this user's alone: remove it`);
    return new Ledger(folder, options);
  }

  /** What an earlier broker has left, and what stays until {@link begin}. A file that tells nothing is removed. */
  read(): LedgerEntry[] {
    return readdirSync(this.#folder).flatMap((name) => {
      const text = LEASE_ID.test(name) ? readFileSync(join(this.#folder, name), "utf8") : "";
      const entry = parse(name, text);
      if (entry === undefined) this.#remove(name);
      else this.#written.set(name, { berth: entry.berth, text });
      return entry ?? [];
    });
  }

  /** What was read has found its place: strikes out what is no lease any more, and follows the berths from now on. */
  begin(berths: readonly Berth[]): void {
    this.#begun = true;
    const names = new Set(berths.map(({ name }) => name));
    this.#strike((_, whose) => !names.has(whose));
    this.keepAll(berths);
  }

  /** Writes down what has changed of the berth's leases, and strikes out those that have ended. */
  keep(berth: Berth): void {
    if (!this.#begun) return;
    const leases = [berth.lease, berth.incoming].filter((lease) => lease !== undefined);
    this.#strike((id, whose) => whose === berth.name && !leases.some((lease) => lease.id === id));
    for (const lease of leases) this.#write(lease, berth);
  }

  keepAll(berths: readonly Berth[]): void {
    for (const berth of berths) this.keep(berth);
  }

  /** Whether the next broker will look for the berth's sockets: it has a tenant that is written down. */
  has({ name }: Berth): boolean {
    return Array.from(this.#written.values()).some(({ berth }) => berth === name);
  }

  #write(lease: Lease, { name: berth, incoming, sockets }: Berth): void {
    const start = this.#startOf(lease);
    if (start === undefined) return; // it has exited, and the lease is about to end
    const facts: LeaseFacts = { ...lease.tenant, ready: lease.ready, incoming: lease === incoming };
    const names = sockets.map(({ name: socket, socket: held }) => socketName({ berth, socket, ...held.identity }));
    const text = JSON.stringify({ ...facts, berth, start, sockets: names });
    if (this.#written.get(lease.id)?.text === text) return;
    const path = join(this.#folder, lease.id);
    try {
      writeFileSync(`${path}.new`, text, { mode: 0o600 });
      renameSync(`${path}.new`, path); // who is killed in between leaves the old one
      this.#written.set(lease.id, { berth, text });
    } catch (error) {
      this.#complain(error);
    }
  }

  /** The number is the tenant's as long as its pidfd says that it lives. */
  #startOf(lease: Lease): string | undefined {
    const known = this.#starts.get(lease);
    if (known !== undefined || lease.pidfd === undefined) return known;
    const start = processStart(lease.tenant.pid);
    if (start === undefined || this.#options.sys.pollNow(lease.pidfd, POLLIN) !== 0) return undefined;
    this.#starts.set(lease, start);
    return start;
  }

  #strike(isGone: (lease: string, berth: string) => boolean): void {
    for (const [lease, { berth }] of this.#written) if (isGone(lease, berth)) this.#remove(lease);
  }

  #remove(name: string): void {
    this.#written.delete(name);
    try {
      unlinkSync(join(this.#folder, name));
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    if (!(error instanceof Error)) throw error;
    if (this.#complained) return;
    this.#complained = true;
    const message = `leases are not written down, so the next broker may not find their tenants: ${error.message}`;
    this.#options.log("warning", message, { event: "ledger" });
  }
}

function parse(lease: string, text: string): LedgerEntry | undefined {
  const facts = decodeLeaseFacts(Buffer.from(text));
  if (facts === undefined) return undefined;
  const [json = ""] = text.split("\0", 1);
  const { berth, start, sockets } = JSON.parse(json) as Record<string, unknown>;
  if (typeof berth !== "string" || typeof start !== "string" || !Array.isArray(sockets)) return undefined;
  return { berth, lease, facts, start, sockets: sockets.filter((name) => typeof name === "string") };
}
