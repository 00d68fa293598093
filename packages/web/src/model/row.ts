/** What the list, the detail and the public page show of a berth. Pure but for the names of users. */
import type { BerthDetail, BerthRow, PublicBerth, QuietHour } from "../api/shapes.ts";
import { playerAddress } from "./address.ts";
import { FRESH_MS, type Known, timeOf } from "./known.ts";
import { causeOf } from "./state.ts";
import { clean } from "./text.ts";
import type { Users } from "./users.ts";
import { whyOf } from "./why.ts";

/** What is the same for all berths of this host. */
export interface Place {
  readonly host: string;
  /** Instead of a wildcard address. */
  readonly address: string | null;
  readonly users: Users;
}

export function rowOf(known: Known, { host, address, users }: Place, now: number): BerthRow {
  const { record, measured } = known;
  const { lease, root } = record;
  const isServing = record.state !== "vacant";
  const { players: reported } = record;
  const query = known.query !== undefined && now - known.query.at < FRESH_MS ? known.query : undefined;
  const image = root?.images.at(-1);
  return {
    host,
    name: record.name,
    state: known.state,
    since: known.since,
    cause: causeOf(known, now),
    outdated: outdatedOf(record),
    drain: drainOf(record),
    game: query?.game ?? null,
    map: cleanOrNull(reported?.map ?? query?.map),
    players: reported?.count ?? query?.players ?? null,
    slots: reported?.max ?? query?.slots ?? null,
    spark: known.players.spark(now),
    ...playerAddress(record.descriptors, address),
    image: image === undefined ? null : clean(image.split("/").at(-1) ?? image, 60),
    memory:
      isServing && measured !== undefined && measured.memory !== null
        ? { used: measured.memory, limit: measured.memoryLimit }
        : null,
    restarts: record.restarts ?? measured?.restarts ?? 0,
    user: lease ? users.ofProcess(lease.pid, lease.uid) : null,
  };
}

/** An older image than the next tenant gets, or an older configuration than the one in force. */
function outdatedOf({ outdated, root }: Known["record"]): BerthRow["outdated"] {
  const newer = root?.newer?.at(-1);
  if (newer === undefined && !outdated) return null;
  return { image: newer === undefined ? null : clean(newer, 60), configuration: outdated === true };
}

/** Also where another state is shown, as a problem is. */
function drainOf({ drain }: Known["record"]): BerthRow["drain"] {
  return drain ? { began: timeOf(drain.began), deadline: timeOf(drain.deadline) } : null;
}

function cleanOrNull(text: string | null | undefined): string | null {
  return text ? clean(text, 60) : null;
}

export function detailOf(
  known: Known,
  row: BerthRow,
  more: { readonly quietest: QuietHour | null; readonly publicPage: string | null },
  now: number,
): BerthDetail {
  const { record, measured } = known;
  const { lease, start, status } = record;
  return {
    ...row,
    why: whyOf(known, now),
    tenant: lease ? { pid: lease.pid, user: row.user ?? "", unit: lease.unit ?? null } : null,
    starts: start ? "on-demand" : lease?.unit ? "unit" : lease ? "hand" : null,
    status: status ? clean(status, 300) : null,
    cpu: record.state === "vacant" ? null : known.cpu,
    sockets: measured?.sockets ?? [],
    ...more,
  };
}

/** Nothing of who runs it, where, or why it fails. */
export function publicOf(row: BerthRow, title: string, month: readonly (number | null)[], now: number): PublicBerth {
  const state = publicState(row);
  const isOpen = state === "open";
  return {
    name: row.name,
    title: clean(title, 100),
    game: row.game,
    map: isOpen ? row.map : null,
    state,
    players: isOpen ? row.players : null,
    slots: row.slots,
    address: row.address,
    join: joinLink(row),
    spark: row.spark,
    month,
    at: now,
  };
}

function publicState({ state }: BerthRow): PublicBerth["state"] {
  switch (state) {
    case "serving":
    case "problem":
    case "handover":
      return "open";
    case "asleep":
      return "wakes";
    case "starting":
    case "draining":
      return "soon";
    case "failed":
    case "vacant":
      return "closed";
  }
}

/** A link for Steam's games, which all take this form. The address is ours; the game's name decides nothing else. */
function joinLink({ address, game }: BerthRow): string | null {
  if (address === null || game === null) return null;
  return /counter-strike|team fortress|valheim|rust|left 4 dead|garry/i.test(game)
    ? `steam://connect/${address}`
    : null;
}
