/** `berth-fleet replace`. */
import { LostHosts } from "../agent/lost-hosts.ts";
import { Fault } from "../fault.ts";
import { Fleet } from "../fleet/fleet.ts";
import { commonFlags, openFleet, parse, parseSeconds, sayer, untilSignal } from "./common.ts";
import { replaceUsage } from "./usage.ts";

const flags = { ...commonFlags, margin: { type: "string" } } as const;

/** Runs until a signal. */
export async function replaceCommand(args: readonly string[]): Promise<string> {
  const { values } = parse(args, flags, false);
  if (values.help) return replaceUsage;
  const margin = parseSeconds(values.margin ?? "5", "--margin", 0);
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  await new LostHosts(etcd, keys, new Fleet(etcd, keys), margin * 1000, sayer(values)).run(stop.signal);
  if (!stop.signal.aborted) throw new Fault("ETCD_DENIED", "our user of etcd may not place berths");
  return "";
}
