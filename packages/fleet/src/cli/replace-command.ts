/** `berth-fleet replace`. */
import { LostHosts } from "../agent/lost-hosts.ts";
import { type Etcd, isUnreachable } from "../etcd/etcd.ts";
import { sleep } from "../etcd/follow.ts";
import { Fault } from "../fault.ts";
import { Fleet } from "../fleet/fleet.ts";
import { KeptLease } from "../fleet/moves/kept-lease.ts";
import { commonFlags, openFleet, parse, parseSeconds, sayer, untilSignal } from "./common.ts";
import { replaceUsage } from "./usage.ts";

const flags = { ...commonFlags, margin: { type: "string" } } as const;

const AFTER_LOSS_MS = 1_000;

/** Runs until a signal. */
export async function replaceCommand(args: readonly string[]): Promise<string> {
  const { values } = parse(args, flags, false);
  if (values.help) return replaceUsage;
  const margin = parseSeconds(values.margin ?? "5", "--margin", 0);
  const { etcd, keys } = openFleet(values);
  using _ = etcd;
  using stop = untilSignal();
  const say = sayer(values);
  // A lease that has ended is taken anew.
  for (; !stop.signal.aborted; await sleep(AFTER_LOSS_MS, stop.signal)) {
    const lease = await leaseOf(etcd, say, stop.signal);
    if (lease === undefined) break;
    await using kept = lease;
    const options = { marginMs: margin * 1000, lease: () => (kept.lost.aborted ? undefined : kept.id), say };
    await new LostHosts(etcd, keys, new Fleet(etcd, keys), options).run(AbortSignal.any([stop.signal, kept.lost]));
    if (!stop.signal.aborted && !kept.lost.aborted)
      throw new Fault("ETCD_DENIED", "our user of etcd may not place berths");
  }
  return "";
}

/** Tried until etcd answers. Undefined: the signal came first. */
async function leaseOf(
  etcd: Etcd,
  say: (sentence: string) => void,
  signal: AbortSignal,
): Promise<KeptLease | undefined> {
  let said = false;
  for (; !signal.aborted; await sleep(AFTER_LOSS_MS, signal)) {
    try {
      return await KeptLease.take(etcd);
    } catch (error) {
      if (!(error instanceof Fault && isUnreachable(error))) throw error;
      if (!said) say(error.message);
      said = true;
    }
  }
  return undefined;
}
