/** `berth-fleet watch`, `events` and `explain`: what happens, what happened, and why. */
import { Fault } from "../fault.ts";
import { followEvents, readEvents } from "../fleet/events.ts";
import { explainBerth } from "../fleet/explain-berth.ts";
import { Fleet } from "../fleet/fleet.ts";
import { stateWord } from "../fleet/rows.ts";
import { type FleetChange, watchFleet } from "../fleet/watch.ts";
import type { FleetEvent } from "../model/event.ts";
import { commonFlags, openFleet, parse, portsText, printLine, untilSignal } from "./common.ts";
import { printable } from "./printable.ts";
import { eventsUsage, explainUsage, watchUsage } from "./usage.ts";

export async function watchCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return watchUsage;
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  // Without etcd at the start there is nothing to watch.
  await etcd.read({ key: keys.prefix });
  const meant: readonly string[] = positionals;
  const isMeant = (change: FleetChange): boolean => {
    if (meant.length === 0 || change.event === "lost" || change.event === "back") return true;
    const names: readonly string[] =
      "host" in change ? [change.host.name] : [change.berth.berth, change.berth.set, change.berth.host];
    return names.some((name) => meant.includes(name));
  };
  for await (const change of watchFleet(etcd, keys, stop.signal)) {
    if (!isMeant(change)) continue;
    const time = new Date().toISOString();
    printLine(values.json ? JSON.stringify({ time, ...change }) : `${timeText(time)}  ${changeText(change)}`, stop);
  }
  return "";
}

function changeText(change: FleetChange): string {
  if (change.event === "lost") return `etcd does not answer: ${change.why}`;
  if (change.event === "back") return "etcd answers again";
  if ("host" in change) {
    const { name, present, cordoned } = change.host;
    const state = change.event === "removed" || !present ? "silent" : "present";
    return `host ${name}: ${state}${cordoned ? ", closed" : ""}`;
  }
  const { berth, host, ports, addresses, players, why } = change.berth;
  if (change.event === "removed") return `${berth}: removed from ${host}`;
  const parts = [
    stateWord(change.berth),
    players === null ? "" : `${players} play`,
    portsText(ports, addresses[0] ?? host),
    why?.split("\n")[0] ?? "",
  ];
  return `${berth}: on ${host}: ${parts.filter((part) => part !== "").join("; ")}`;
}

const eventsFlags = {
  ...commonFlags,
  berth: { type: "string" },
  host: { type: "string" },
  follow: { type: "boolean" },
} as const;

export async function eventsCommand(args: readonly string[]): Promise<string> {
  const { values } = parse(args, eventsFlags, false);
  if (values.help) return eventsUsage;
  const { berth, host } = values;
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  const show = (event: FleetEvent): void => {
    if (berth !== undefined && event.berth !== berth) return;
    if (host !== undefined && event.host !== host && event.from !== host) return;
    printLine(values.json ? JSON.stringify(event) : eventText(event), stop);
  };
  if (!values.follow) {
    (await readEvents(etcd, keys)).forEach(show);
    return "";
  }
  await etcd.read({ key: keys.prefix });
  for await (const event of followEvents(etcd, keys, stop.signal)) show(event);
  return "";
}

function eventText({ time, kind, set, berth, host, from, why }: FleetEvent): string {
  const where = host === undefined ? "" : berth === undefined ? host : ` on ${host}`;
  const before = from === undefined || from === host ? "" : `, before on ${from}`;
  const what = `${berth ?? (host === undefined ? (set ?? "") : "host ")}${where}${before}`;
  return `${timeText(time)}  ${kind.padEnd(9)}  ${what}${why === undefined ? "" : `: ${why}`}`;
}

export async function explainCommand(args: readonly string[]): Promise<string> {
  const { values, positionals } = parse(args, commonFlags, true);
  if (values.help) return explainUsage;
  const [berth, ...others] = positionals;
  if (berth === undefined || others.length > 0)
    throw new Fault("USAGE", "explain needs one berth, as arena-1; see berth-fleet ls");
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  const view = await new Fleet(etcd, keys).view();
  const { host, now, ...about } = explainBerth(view, berth);
  const events = (await readEvents(etcd, keys)).filter((event) => event.berth === berth);
  if (values.json)
    return `${JSON.stringify({ ...about, host, now: { host: now.host ?? null, others: now.others }, events })}\n`;
  const is = host === null ? "on no host" : `on ${host}`;
  const would = now.host === undefined ? "no host can have it" : `${now.host} is the best for it`;
  const lines = [
    `${berth}: ${is}; now ${would}`,
    ...(now.fetches ?? []).map((fetched) => `  ${fetched}`),
    ...now.others.map((other) => `  ${other.host === host ? "not better" : "not"} ${other.host}: ${other.why}`),
    ...(view.hosts.size === 0 ? ["  there is no host: start berth-fleet agent on one"] : []),
    ...(now.host !== undefined && host === null ? [`  to place it: berth-fleet place ${about.set}`] : []),
    ...(now.host !== undefined && host !== null && now.host !== host
      ? [`  to move it: berth-fleet move ${berth}`]
      : []),
    ...events.map(eventText),
  ];
  return `${lines.map(printable).join("\n")}\n`;
}

/** `2026-01-31T12:00:00Z`. */
function timeText(time: string): string {
  return time.replace(/\.\d+Z$/, "Z");
}
