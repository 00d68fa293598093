/**
 * The record of leases, in a file beside the control socket. A broker that exits leaves it behind, however it exits.
 * The next broker reads it to find the tenants that still live, and the sockets they hold (reclaim.ts).
 */

import { randomInt } from "node:crypto";
import { lstatSync, renameSync } from "node:fs";
import type { Log } from "../../log.ts";
import type { Berth } from "../berths/berth/berth.ts";
import type { Lease } from "../berths/berth/lease.ts";
import { decodeLeaseFacts, type LeaseFacts } from "../record/lease-facts.ts";
import { SlotFile } from "../record/slot-file.ts";
import { type StoredSocket, socketName } from "../record/stored-name.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";

/** One lease in the record. */
export interface LedgerEntry {
  readonly berth: string;
  readonly lease: string;
  /** Higher than that of every entry before it. */
  readonly serial: number;
  readonly facts: LeaseFacts;
  /** {@link processIdentity} of the tenant. */
  readonly process: string;
  /** The berth's sockets, under the names they would have in a service manager's store. */
  readonly sockets: readonly string[];
}

export interface LedgerOptions {
  readonly log: Log;
}

/** The text of a lease in the file, without its serial, and its slot. */
interface Written {
  readonly text: string;
  readonly slot: number;
}

/** No field of the facts is left out, not even one that may be absent. */
type Recorded = { readonly [Name in keyof Required<LeaseFacts>]: LeaseFacts[Name] } & Pick<
  LedgerEntry,
  "berth" | "lease" | "process"
>;

interface NamedOnce {
  readonly berth: string;
  readonly name: string;
  readonly inode: bigint;
  readonly path: StoredSocket["path"];
  readonly text: string;
}

/** The most that randomInt() takes. */
const MAX_MARK = 2 ** 48 - 1;

export class Ledger {
  readonly #path: string;
  readonly #file: SlotFile;
  readonly #options: LedgerOptions;
  /** By berth and lease. */
  readonly #written = new Map<string, Map<string, Written>>();
  /** What a socket is called, as JSON, as long as it is the same. */
  readonly #names = new WeakMap<HeldSocket, NamedOnce>();
  #serial = 0;
  #begun = false;
  #complained = false;

  private constructor(path: string, file: SlotFile, options: LedgerOptions) {
    this.#path = path;
    this.#file = file;
    this.#options = options;
  }

  /** A file that cannot be believed is renamed, and logged. Throws as {@link SlotFile.open} when that fails too. */
  static open(path: string, options: LedgerOptions): Ledger {
    try {
      return new Ledger(path, SlotFile.open(path), options);
    } catch (error) {
      const aside = error instanceof Error ? setAside(path) : undefined;
      if (!(error instanceof Error) || aside === undefined) throw error;
      const message = `cannot believe ${path}, so it was renamed ${aside}: ${error.message}`;
      options.log("warning", message, { event: "ledger" });
      return new Ledger(path, SlotFile.open(path), options);
    }
  }

  /** The leases that an earlier broker recorded. They stay in the file until {@link begin}. */
  read(): LedgerEntry[] {
    const entries = new Map<string, LedgerEntry>();
    // In the order in which they were written. A lease has two entries if a broker was killed after it wrote the newer
    // one and before it cleared the older one.
    const found = Array.from(this.#file.read(), ([slot, text]) => ({ slot, text, entry: parse(text) }));
    found.sort((a, b) => (a.entry?.serial ?? 0) - (b.entry?.serial ?? 0));
    for (const { slot, text, entry } of found) {
      if (entry === undefined) {
        this.#file.clear(slot);
        continue;
      }
      const leases = this.#ofBerth(entry.berth);
      for (const [id, older] of leases) {
        // Only a handover has two tenants. Otherwise the older entry is of a lease that had ended.
        if (id !== entry.lease && (entry.facts.incoming || entries.get(id)?.facts.incoming === true)) continue;
        this.#file.clear(older.slot);
        leases.delete(id);
        entries.delete(id);
      }
      leases.set(entry.lease, { text, slot });
      entries.set(entry.lease, entry);
      this.#serial = entry.serial;
    }
    return [...entries.values()];
  }

  /** Clears entries of leases that no longer exist, and records every change from now on. */
  begin(berths: readonly Berth[]): void {
    this.#begun = true;
    const names = new Set(berths.map(({ name }) => name));
    for (const name of this.#written.keys()) if (!names.has(name)) this.#clear(name, []);
    this.keepAll(berths);
  }

  /** Records what changed in the berth's leases, and clears those that ended. */
  keep(berth: Berth): void {
    if (!this.#begun) return;
    if (berth.lease === undefined && berth.incoming === undefined && !this.#written.has(berth.name)) return;
    const leases = [berth.lease, berth.incoming].filter((lease) => lease !== undefined);
    for (const lease of leases) this.#write(lease, berth);
    this.#clear(berth.name, leases);
  }

  /** As {@link keep} of all berths there are. */
  keepAll(berths: readonly Berth[]): void {
    for (const berth of berths) this.keep(berth);
  }

  /** Whether the next broker will look for the berth's sockets: a tenant of it is recorded. */
  has({ name }: Berth): boolean {
    return (this.#written.get(name)?.size ?? 0) > 0;
  }

  /** Closes the file; its entries stay. Idempotent. */
  close(): void {
    this.#begun = false;
    this.#file.close();
  }

  #write(lease: Lease, { name: berth, incoming, sockets, aside }: Berth): void {
    this.#attempt(() => {
      const process = lease.processIdentity;
      if (process === undefined) return; // it has exited, and the lease is about to end
      const { pid, uid, unit, network, cgroup } = lease.tenant;
      const { id, since, ready, drain } = lease;
      const isIncoming = lease === incoming;
      // All fields in one literal, for it is written at each lease: to put one together of several takes microseconds.
      // biome-ignore format: one line for the facts, one for what goes with them
      const facts: Recorded = {
        pid, uid, unit, network, cgroup, since, ready, incoming: isIncoming, drain,
        berth, lease: id, process,
      };
      const text = `${JSON.stringify(facts).slice(1, -1)},"sockets":[${this.#namesOf(berth, sockets, aside)}]}`;
      const known = this.#ofBerth(berth).get(lease.id);
      if (known?.text === text) return;
      this.#ofBerth(berth).set(lease.id, { text, slot: this.#file.write(whole(++this.#serial, text)) });
      if (known !== undefined) this.#file.clear(known.slot);
    });
  }

  /** The names of its sockets, as JSON. */
  #namesOf(berth: string, sockets: Berth["sockets"], aside: Berth["aside"]): string {
    const names = sockets.map(({ name, socket }) => {
      const { inode, path } = socket.identity;
      const known = this.#names.get(socket);
      if (known?.inode === inode && known.path === path && known.name === name && known.berth === berth)
        return known.text;
      const text = JSON.stringify(socketName({ berth, socket: name, ...socket.identity }));
      this.#names.set(socket, { berth, name, inode, path, text });
      return text;
    });
    for (const { name } of aside) names.push(JSON.stringify(name));
    return names.join();
  }

  #clear(berth: string, but: readonly Lease[]): void {
    const written = this.#written.get(berth);
    if (written === undefined) return;
    for (const [id, { slot }] of written) {
      if (but.some((lease) => lease.id === id)) continue;
      written.delete(id);
      this.#attempt(() => this.#file.clear(slot));
    }
    if (written.size === 0) this.#written.delete(berth);
  }

  #ofBerth(berth: string): Map<string, Written> {
    const known = this.#written.get(berth);
    if (known !== undefined) return known;
    const none = new Map<string, Written>();
    this.#written.set(berth, none);
    return none;
  }

  #attempt(write: () => void): void {
    try {
      write();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      if (this.#complained) return;
      this.#complained = true;
      const message = `cannot write ${this.#path}, so the next broker cannot restore every lease: ${error.message}`;
      this.#options.log("warning", message, { event: "ledger" });
    }
  }
}

/** Renames whatever has this name, a link itself included. Returns the new name; undefined when that fails. */
function setAside(path: string): string | undefined {
  for (let number = 1; number <= 9; number++) {
    const aside = `${path}.unusable-${number}`;
    if (lstatSync(aside, { throwIfNoEntry: false }) !== undefined) continue;
    try {
      renameSync(path, aside);
      return aside;
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/**
 * The text of a slot. Its `begin` and `end` are the same random number: of halves of two texts they are not. So a text
 * that was written in part is told from a whole one, whatever the slot held before.
 */
function whole(serial: number, text: string): string {
  const mark = randomInt(MAX_MARK);
  return `{"serial":${serial},"begin":${mark},${text.slice(0, -1)},"end":${mark}}`;
}

function parse(text: string): LedgerEntry | undefined {
  const facts = decodeLeaseFacts(Buffer.from(text));
  if (facts === undefined) return undefined;
  const { serial, berth, lease, process, sockets, begin, end } = JSON.parse(text) as Record<string, unknown>;
  if (typeof berth !== "string" || typeof lease !== "string" || typeof process !== "string") return undefined;
  if (typeof serial !== "number" || begin !== end || !Array.isArray(sockets)) return undefined;
  return { berth, lease, serial, facts, process, sockets: sockets.filter((name) => typeof name === "string") };
}
