/**
 * The families of measurements: their names, types and descriptions, as Describe gives them and docs/metrics.md lists
 * them. Times are seconds, sizes are bytes. Pure.
 */
import type { MetricsMethods } from "../../varlink/interfaces/io.systemd.Metrics.types.ts";

/** In front of the name of each family. */
export const PREFIX = "io.berthd.Broker.";

type BerthFamily =
  | "State"
  | "Leases"
  | "Takeovers"
  | "Restarts"
  | "Starts"
  | "StartFailures"
  | "Wakes"
  | "Binds"
  | "Players"
  | "PlayersLimit"
  | "HeldDescriptors"
  | "QueueBytes"
  | "QueueLimitBytes"
  | "Drops"
  | "AcceptQueue"
  | "AcceptQueueLimit"
  | "TenantMemoryBytes"
  | "TenantMemoryLimitBytes"
  | "TenantCpuSeconds";

type BrokerFamily =
  | "Berths"
  | "Acquires"
  | "AcquireSecondsBucket"
  | "AcquireSecondsSum"
  | "Refusals"
  | "ConnectionsAccepted"
  | "ConnectionsRefused"
  | "Connections"
  | "Watchers"
  | "BindServers"
  | "OpenDescriptors"
  | "DescriptorLimit"
  | "ResidentBytes"
  | "CpuSeconds"
  | "BusySeconds"
  | "DelaySeconds"
  | "UptimeSeconds";

export type FamilyName = BerthFamily | BrokerFamily;

interface Family {
  readonly type: MetricsMethods["Describe"]["reply"]["type"];
  readonly description: string;
}

const counter = (description: string): Family => ({ type: "counter", description });
const gauge = (description: string): Family => ({ type: "gauge", description });
const text = (description: string): Family => ({ type: "string", description });

const perBerth: Readonly<Record<BerthFamily, Family>> = {
  State: text("Its state, in the word of `berth ls`"),
  Leases: counter("Leases that were granted"),
  Takeovers: counter("Leases that took the berth over from a tenant"),
  Restarts: counter("Leases after the first one: its server was started again"),
  Starts: counter("Starts of its server on demand"),
  StartFailures: counter("Starts on demand that failed"),
  Wakes: counter("How often a datagram or a connection woke its server, by cause"),
  Binds: counter("Calls of bind(2) of its server that the broker answered, by result"),
  Players: gauge("Players, where its server or an observer says it"),
  PlayersLimit: gauge("How many can play, where its server or an observer says it"),
  HeldDescriptors: gauge("Descriptors that the broker holds for it, by kind"),
  QueueBytes: gauge("Memory of the datagrams that wait in a socket"),
  QueueLimitBytes: gauge("The most memory of waiting datagrams; beyond it they are dropped"),
  Drops: counter("Datagrams that a socket has dropped since it was opened"),
  AcceptQueue: gauge("Connections that wait for accept(2) at a socket"),
  AcceptQueueLimit: gauge("The most connections that may wait for accept(2) at a socket"),
  TenantMemoryBytes: gauge("Memory of the control group of its tenant"),
  TenantMemoryLimitBytes: gauge("The most memory of the control group of its tenant"),
  TenantCpuSeconds: counter("Processor time of the control group of its tenant"),
};

const ofBroker: Readonly<Record<BrokerFamily, Family>> = {
  Berths: gauge("Berths that the caller may see, by state"),
  Acquires: counter("Calls of Acquire and Launch that were granted"),
  AcquireSecondsBucket: counter("Timed calls that took at most le seconds: a cumulative histogram"),
  AcquireSecondsSum: counter("How long all timed calls took together"),
  Refusals: counter("Error replies, by the name of the error"),
  ConnectionsAccepted: counter("Connections that clients made"),
  ConnectionsRefused: counter("Connections that were closed because of a limit, by limit"),
  Connections: gauge("Connections that are open"),
  Watchers: gauge("Connections on which Watch was called"),
  BindServers: gauge("Servers whose calls of bind(2) the broker answers"),
  OpenDescriptors: gauge("Open descriptors of the broker"),
  DescriptorLimit: gauge("The most open descriptors of the broker (RLIMIT_NOFILE)"),
  ResidentBytes: gauge("Resident memory of the broker"),
  CpuSeconds: counter("Processor time of the broker"),
  BusySeconds: counter("How long the event loop of the broker was busy"),
  DelaySeconds: gauge("How long this call waited for the event loop"),
  UptimeSeconds: gauge("How long the broker has been running"),
};

/** One measurement, before its name is complete. */
export interface Measured {
  readonly family: FamilyName;
  readonly value: number | string;
  /** The berth it is about. */
  readonly object?: string;
  readonly fields?: Readonly<Record<string, string>>;
}

/** One reply of List. */
export function listed({ family, ...rest }: Measured): MetricsMethods["List"]["reply"] {
  return { name: PREFIX + family, ...rest };
}

/** The replies of Describe. */
export function described(): MetricsMethods["Describe"]["reply"][] {
  return Object.entries({ ...perBerth, ...ofBroker }).map(([name, { type, description }]) => ({
    name: PREFIX + name,
    description,
    type,
  }));
}
