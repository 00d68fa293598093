/** What an event of Watch is in the timeline of a berth: in words, with what is known of it. Pure. */
import type { BerthEventRecord, BerthRecord } from "berthd";
import type { TimelineEvent } from "../api/history-shapes.ts";
import { clean, duration } from "./text.ts";

/** The berth before the event, and since when its tenant had it. */
export interface Before {
  readonly record: BerthRecord | undefined;
  readonly leasedAt: number | null;
}

/** `userOf` names a uid. Undefined for an event that does not belong in the timeline. */
export function happeningOf(
  { event, berth }: BerthEventRecord,
  before: Before,
  at: number,
  userOf: (uid: number) => string,
): TimelineEvent | undefined {
  const make = (kind: TimelineEvent["kind"], text: string, detail: string | null = null): TimelineEvent => {
    return { at, kind, text, detail };
  };
  const { lease, start } = berth;
  const held = before.leasedAt === null ? null : duration(at - before.leasedAt);
  switch (event) {
    case "present":
    case "status":
    case "players":
      return undefined;
    case "added":
      return make("added", "Added to the configuration");
    case "removed":
      return make("removed", "Removed from the configuration");
    case "changed":
      if (!isSameDrain(before.record, berth)) return drained(before.record, berth, at, make);
      return make("changed", "Configuration changed", berth.outdated ? "its server still has the older one" : null);
    case "acquired":
      return lease ? make("lease", `Lease taken by pid ${lease.pid}`, tenant(lease, userOf)) : undefined;
    case "ready":
      return make("ready", "Ready", held === null ? null : `after ${held}`);
    case "handover":
      return make("handover", "Handover begun", lease ? `pid ${lease.pid} hands over to a newcomer` : null);
    case "released":
      return released(before, berth, held, make);
    case "repaired":
      return make("repaired", "A socket was put right", "the last server had left it in another state");
    case "starting":
      return make("wake", wakeOf(berth), berth.wake?.socket ? `at socket ${clean(berth.wake.socket, 40)}` : null);
    case "failed":
      return failed(start, make);
    case "stopping":
      return make("stopping", "Its server is stopping", berth.status ? clean(berth.status, 200) : null);
  }
}

function isSameDrain(before: BerthRecord | undefined, { drain }: BerthRecord): boolean {
  return before === undefined || (before.drain?.began === drain?.began && before.drain?.deadline === drain?.deadline);
}

function drained(before: BerthRecord | undefined, { drain }: BerthRecord, at: number, make: Make): TimelineEvent {
  if (!drain) return make("drain", "Drain ended", "its server goes on");
  const latest = drain.deadline ? `, at the latest in ${duration(drain.deadline / 1000 - at)}` : "";
  const what = before?.drain ? "Drain has another deadline" : "Drain begun";
  return make("drain", what, `its server stops once nobody plays${latest}`);
}

function wakeOf({ wake }: BerthRecord): string {
  if (!wake) return "Woke: a packet or connection came";
  return wake.cause === "datagram" ? "Woke: a packet came" : "Woke: a connection came";
}

type Make = (kind: TimelineEvent["kind"], text: string, detail?: string | null) => TimelineEvent;

function tenant(lease: NonNullable<BerthRecord["lease"]>, userOf: (uid: number) => string): string {
  const user = `user ${clean(userOf(lease.uid), 40)}`;
  return lease.unit ? `${user}, ${clean(lease.unit, 100)}` : user;
}

/** During a handover one of two leases has ended: the old one, and it is done; or the newcomer's. */
function released({ record }: Before, berth: BerthRecord, held: string | null, make: Make): TimelineEvent {
  if (record?.state === "handover" && berth.lease) {
    return berth.lease.id === record.lease?.id
      ? make("released", "Handover given up", "the newcomer has ended; the old server goes on")
      : make("takeover", "Taken over", `by pid ${berth.lease.pid}; the sockets stayed open`);
  }
  const details = [held === null ? null : `after ${held}`, berth.start ? null : whereWhy(record?.lease?.unit)];
  return make("released", "Lease ended", details.filter((one) => one !== null).join("; ") || null);
}

/** The broker knows how a server ended only if it started it, without a unit of systemd. */
function whereWhy(unit: string | null | undefined): string {
  return unit ? `why: systemctl status ${clean(unit, 100)}` : "why is not known: the broker did not start this server";
}

function failed(start: BerthRecord["start"], make: Make): TimelineEvent {
  const reason = start?.reason ? clean(start.reason, 300) : null;
  if (start?.signal) return make("crash", `Crashed: ${clean(start.signal, 20)}`, reason);
  if (start?.status !== null && start?.status !== undefined) {
    return make("crash", `Ended with status ${start.status}`, reason);
  }
  return make("failed", "Not started", reason);
}
