/** What changes in a fleet, as it changes: one row for each berth and host that is another than before. */
import type { Etcd } from "../etcd/etcd.ts";
import { follow } from "../etcd/follow.ts";
import { berthReport } from "../model/berth-report.ts";
import { hostRecord } from "../model/host.ts";
import type { Keys } from "../model/keys.ts";
import { allocation, placement } from "../model/placement.ts";
import { type BerthRow, berthRow, type HostRow, hostRow } from "./rows.ts";
import { readable } from "./view.ts";

export type FleetChange =
  /** `present`: it was there when the watch began. `removed`: the row is what it was before. */
  | { readonly event: "present" | "added" | "changed" | "removed"; readonly berth: BerthRow }
  | { readonly event: "present" | "added" | "changed" | "removed"; readonly host: HostRow }
  /** etcd does not answer. It is asked again; what changes meanwhile comes later. */
  | { readonly event: "lost"; readonly why: string }
  | { readonly event: "back" };

/** Ends with the signal. First all that is there. Records that nobody can read are left out. */
export async function* watchFleet(
  etcd: Etcd,
  keys: Keys,
  signal: AbortSignal,
): AsyncGenerator<FleetChange, void, void> {
  const rows = new Rows(keys);
  let isFirst = true;
  for await (const one of follow(etcd, { prefix: keys.prefix }, signal)) {
    if (one.kind === "lost") yield { event: "lost", why: one.why };
    else if (one.kind === "back") yield { event: "back" };
    else {
      const touched = one.kind === "all" ? rows.replace(one.entries) : new Set<string>();
      for (const event of one.kind === "changes" ? one.events : [])
        touched.add(event.kind === "put" ? rows.put(event.entry.key, event.entry.value) : rows.remove(event.key));
      yield* rows.changes(touched, isFirst ? "present" : "added");
      isFirst = false;
    }
  }
}

/** All keys, and the rows that they made. Rows go by `host NAME` or `berth NAME`. */
class Rows {
  readonly #keys: Keys;
  readonly #values = new Map<string, string>();
  readonly #shown = new Map<string, { readonly text: string; readonly row: Row }>();

  constructor(keys: Keys) {
    this.#keys = keys;
  }

  /** The rows that this may change. */
  replace(entries: readonly { readonly key: string; readonly value: string }[]): Set<string> {
    this.#values.clear();
    const touched = new Set(this.#shown.keys());
    for (const { key, value } of entries) touched.add(this.put(key, value));
    return touched;
  }

  put(key: string, value: string): string {
    this.#values.set(key, value);
    return this.#rowOf(key);
  }

  remove(key: string): string {
    this.#values.delete(key);
    return this.#rowOf(key);
  }

  *changes(touched: ReadonlySet<string>, begins: "present" | "added"): Generator<FleetChange> {
    for (const id of touched) {
      const before = this.#shown.get(id);
      const row = this.#row(id);
      const text = JSON.stringify(row);
      if (row === undefined) {
        this.#shown.delete(id);
        if (before !== undefined) yield { event: "removed", ...before.row };
      } else if (before?.text !== text) {
        this.#shown.set(id, { text, row });
        yield { event: before === undefined ? begins : "changed", ...row };
      }
    }
  }

  /** Addresses of a host are in the rows of its berths, and change there with the berths' next change. */
  #rowOf(key: string): string {
    const about = this.#keys.read(key);
    switch (about?.kind) {
      case "host":
      case "cordon":
        return `host ${about.host}`;
      case "placement":
      case "allocation":
      case "state":
        return `berth ${about.berth}`;
      default:
        return "";
    }
  }

  #row(id: string): Row | undefined {
    const [what, name = ""] = id.split(" ");
    if (what === "berth") return this.#berth(name);
    return what === "host" ? this.#host(name) : undefined;
  }

  #berth(berth: string): Row | undefined {
    const placed = this.#record({ kind: "placement", berth }, placement);
    if (placed === undefined) return undefined;
    const { host } = placed;
    const report = this.#record({ kind: "state", host, berth }, berthReport);
    const allocated = this.#record({ kind: "allocation", berth }, allocation);
    return { berth: berthRow(placed, this.#record({ kind: "host", host }, hostRecord), report, allocated) };
  }

  /** Also a host that is silent but closed. */
  #host(name: string): Row | undefined {
    const host = this.#record({ kind: "host", host: name }, hostRecord);
    const isCordoned = this.#values.has(this.#keys.of({ kind: "cordon", host: name }));
    return host === undefined && !isCordoned ? undefined : { host: hostRow(name, host, isCordoned) };
  }

  #record<T>(about: Parameters<Keys["of"]>[0], read: (value: unknown, at: string) => T): T | undefined {
    const key = this.#keys.of(about);
    const value = this.#values.get(key);
    return value === undefined ? undefined : readable(key, value, read, () => undefined);
  }
}

type Row = { readonly berth: BerthRow } | { readonly host: HostRow };
