/** What people read as a berth's state, and the sentence that goes with it. Pure. */
import { printable } from "./printable.ts";
import type { Berth, Start } from "./varlink/interfaces/io.berthd.Broker.types.ts";

/** One word for a table. */
export type ShownState = Berth["state"] | "problem" | "waiting" | "failed" | "starting" | "outdated" | "draining";

/** What keeps a berth from being used comes before all else. */
export function stateOf({ state, problems, wait, start, outdated, root, drain }: Berth): ShownState {
  if (problems && problems.length > 0) return "problem";
  if (wait) return "waiting";
  if (state === "vacant" && start?.state === "failed") return "failed";
  if (state === "vacant" && (start?.state === "starting" || start?.state === "queued")) return "starting";
  if (state === "occupied" && drain) return "draining";
  return state === "occupied" && (outdated || root?.newer) ? "outdated" : state;
}

/**
 * Why it is in this state and what to do. Undefined where there is nothing to do. `now`: milliseconds since 1970, for
 * what is left until a deadline.
 */
export function adviceOf(berth: Berth, now: number = Date.now()): string | undefined {
  const { problems, wait, start } = berth;
  switch (stateOf(berth)) {
    case "problem": {
      const [first] = problems ?? [];
      if (first === undefined) return undefined;
      const others = (problems?.length ?? 1) - 1;
      const remedy = first.remedy ? `; ${first.remedy}` : "";
      const more = others > 0 ? `; and ${others} more: berth show ${berth.name}` : "";
      return printable(`${first.file}:${first.line}: ${first.message}${remedy}${more}`);
    }
    case "waiting":
      return wait ? printable(wait.message) : undefined;
    case "failed":
      return start ? failureOf(start) : undefined;
    case "outdated":
      return outdatedOf(berth);
    case "draining":
      return `${drainOf(berth, now)}; to keep its server: berth drain --cancel ${printable(berth.name)}`;
    case "starting":
    case "vacant":
    case "occupied":
    case "handover":
      return undefined;
  }
}

/** Why the last start failed, and when the next one is. */
export function failureOf({ failures, reason, next }: Start): string {
  const times = failures === 1 ? "its server did not start" : `its server did not start, ${failures} times`;
  const why = reason ? `: ${printable(reason)}` : "";
  return `${times}${why}${next ? `; next try at ${timeOf(next)}` : ""}`;
}

/** What the tenant has of an older configuration, or of older images. */
export function outdatedOf({ name, older, outdated, root }: Berth): string {
  const what = older && older.length > 0 ? `has ${older.map(printable).join(" ")} of` : "has settings of";
  const has = outdated ? `${what} an older configuration` : `has ${(root?.images ?? []).map(printable).join(" + ")}`;
  const now = root?.newer ? `; its image is ${root.newer.map(printable).join(" + ")} now` : "";
  return `${has}${now}; restart it: berth restart ${printable(name)}`;
}

const JOINS = {
  queue: "; new joins wait for the next server",
  refuse: "; new players are turned away",
  serve: "",
} as const;

/** When the server of a berth that drains is stopped: `stops once nobody plays, at the latest in 12:03 (…); 7 play`. */
export function drainOf({ drain, players }: Pick<Berth, "drain" | "players">, now: number): string {
  const deadline = drain?.deadline;
  const latest = deadline ? `, at the latest in ${leftUntil(deadline, now)} (${timeOf(deadline)})` : "";
  const count = players ? `; ${players.count === 1 ? "1 plays" : `${players.count} play`}` : "";
  const joins = drain?.joins ? JOINS[drain.joins] : "";
  const note = drain?.note ? `; ${printable(drain.note)}` : "";
  return `its server stops once nobody plays${latest}${count}${joins}${note}`;
}

/** Of a server that has not ended, and drains no longer. */
export const DRAIN_IS_OVER = "its drain was cancelled, or its server could not be stopped; its server goes on";

/** Nobody waits longer than a week for a restart. */
export const LONGEST_DRAIN_SECONDS: number = 7 * 24 * 3600;

/** `1:02:03`, or `12:03` under an hour. `deadline`: microseconds since 1970. */
export function leftUntil(deadline: number, now: number): string {
  const seconds = Math.max(0, Math.ceil((deadline / 1000 - now) / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (number: number): string => String(number).padStart(2, "0");
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
}

/** A command that shows more of what is wrong with it, or ends that. Undefined where there is nothing to do. */
export function commandOf(berth: Berth): string | undefined {
  switch (stateOf(berth)) {
    case "problem":
      return "berth check";
    case "failed":
      return `berth logs ${berth.name}`;
    case "outdated":
      return `berth restart ${berth.name}`;
    case "draining":
      return `berth drain --cancel ${berth.name}`;
    case "waiting":
      return `berth show ${berth.name}`;
    case "starting":
    case "vacant":
    case "occupied":
    case "handover":
      return undefined;
  }
}

/** `2026-01-31T12:00:00Z` of microseconds since 1970. */
function timeOf(microseconds: number): string {
  return new Date(microseconds / 1000).toISOString().replace(/\.\d+Z$/, "Z");
}
