/** What each berth's server does at one moment, and between two. */
import { readFileSync } from "node:fs";
import { type ShownState, stateOf } from "../../berth-state.ts";
import type { ListenAddress } from "../../net/address.ts";
import { parseListenAddress } from "../../net/address.ts";
import type { BerthRecord } from "../berths/berth-records.ts";
import { countSockets, readTables, type SocketCounts } from "./socket-counts.ts";
import { readProcesses, type Use, useOf } from "./usage.ts";

export interface Sample {
  /** Milliseconds, by performance.now(). */
  readonly at: number;
  readonly berths: readonly BerthSample[];
}

export interface BerthSample extends SocketCounts {
  readonly name: string;
  readonly state: ShownState;
  readonly pid: number | undefined;
  readonly use: Use | undefined;
}

/** One line of the table. */
export interface Row extends SocketCounts {
  readonly name: string;
  readonly state: ShownState;
  readonly pid: number | null;
  /** Share of one processor since the sample before, 1 being all of it. Null where that is not known. */
  readonly cpu: number | null;
  /** Resident bytes. */
  readonly memory: number | null;
  readonly processes: number | null;
}

export function takeSample(berths: readonly BerthRecord[]): Sample {
  const processes = readProcesses();
  const tables = readTables((name) => textOf(`/proc/net/${name}`));
  return {
    at: performance.now(),
    berths: berths.map((berth) => {
      const pid = berth.lease?.pid;
      return {
        name: berth.name,
        state: stateOf(berth),
        pid,
        use: pid === undefined ? undefined : useOf(pid, processes),
        ...countSockets(addressesOf(berth), tables),
      };
    }),
  };
}

/** The processor's share is of the time between two samples of the same server. */
export function rowsOf(now: Sample, before: Sample | undefined): Row[] {
  return now.berths.map(({ use, pid, ...rest }) => {
    const former = before?.berths.find((one) => one.name === rest.name && one.pid === pid)?.use;
    const seconds = before === undefined ? 0 : (now.at - before.at) / 1000;
    const cpu =
      use === undefined || former === undefined || seconds <= 0 ? null : (use.seconds - former.seconds) / seconds;
    return {
      ...rest,
      pid: pid ?? null,
      // Processes that have ended take their times with them.
      cpu: cpu === null ? null : Math.max(0, cpu),
      memory: use?.memory ?? null,
      processes: use?.processes ?? null,
    };
  });
}

function addressesOf({ descriptors }: BerthRecord): ListenAddress[] {
  return descriptors.flatMap(({ address }) => {
    const listen = address ? parseListenAddress(address) : undefined;
    return listen === undefined || typeof listen === "string" ? [] : [listen];
  });
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // a kernel without IPv6
  }
}
