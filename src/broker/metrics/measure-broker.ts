/** The measurements of the broker itself. */
import { readdir, stat } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import type { BrokerCounts } from "../counts/broker-counts.ts";
import type { FamilyName, Measured } from "./families.ts";

/** What the broker knows besides what it counts. */
export interface BrokerMeasuring {
  readonly counts: BrokerCounts;
  /** `performance.now()` when it was started. */
  readonly startedAt: number;
  readonly connections: number;
  readonly watchers: number;
  readonly bindServers: number;
  /** Undefined if they could not be counted. */
  readonly openDescriptors: number | undefined;
  readonly maxFds: number;
  /** Milliseconds. */
  readonly delay: number;
  /** How many berths the caller may see, by state. */
  readonly berths: ReadonlyMap<string, number>;
}

export function measureBroker(broker: BrokerMeasuring): Measured[] {
  const all: Measured[] = [];
  const add = (family: FamilyName, value: number | undefined, fields?: Measured["fields"]): void => {
    if (value === undefined) return;
    all.push({ family, value, ...(fields !== undefined && { fields }) });
  };
  const { counts } = broker;
  for (const [state, value] of broker.berths) add("Berths", value, { state });
  add("Acquires", counts.acquires.calls + counts.repeated);
  for (const [le, calls] of counts.acquires.buckets) add("AcquireSecondsBucket", calls, { le });
  add("AcquireSecondsSum", counts.acquires.seconds);
  for (const [error, value] of counts.errors) add("Refusals", value, { error });
  add("ConnectionsAccepted", counts.connections);
  for (const [limit, value] of Object.entries(counts.refusedConnections)) add("ConnectionsRefused", value, { limit });
  add("Connections", broker.connections);
  add("Watchers", broker.watchers);
  add("BindServers", broker.bindServers);
  add("OpenDescriptors", broker.openDescriptors);
  add("DescriptorLimit", broker.maxFds);
  add("ResidentBytes", process.memoryUsage.rss());
  const { user, system } = process.cpuUsage();
  add("CpuSeconds", (user + system) / 1_000_000);
  // libuv counts the time it waits anyway: uv_metrics_idle_time.
  add("BusySeconds", performance.eventLoopUtilization().active / 1000);
  add("DelaySeconds", broker.delay / 1000);
  add("UptimeSeconds", (performance.now() - broker.startedAt) / 1000);
  return all;
}

/**
 * How many descriptors this process has open. From Linux 6.2 on the kernel has the number; else a thread counts.
 * Undefined if it cannot: counting takes a descriptor, and there may be none left.
 */
export async function countDescriptors(folder = "/proc/self/fd"): Promise<number | undefined> {
  try {
    const { size } = await stat(folder);
    return size > 0 ? size : (await readdir(folder)).length;
  } catch {
    return undefined;
  }
}
