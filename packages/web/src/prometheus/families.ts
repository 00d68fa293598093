/**
 * The metrics for Prometheus: which family of io.systemd.Metrics each is made from. Labels have few values: berths of
 * the configuration, and words of berthd. A player's name is never one.
 */
export interface ExposedFamily {
  /** After `berthd_`. */
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  /** Families without what all their names begin with; values with equal labels are added up. */
  readonly from: string;
  /** Which field of the family becomes which label, besides `berth`. */
  readonly label?: { readonly field: string; readonly name: "reason" | "result" };
  readonly ofBerth: boolean;
}

type Row = readonly [name: string, type: "counter" | "gauge", from: string, help: string];

const ofBerth: readonly Row[] = [
  ["leases_total", "counter", "Leases", "Leases that were granted."],
  ["takeovers_total", "counter", "Takeovers", "Leases that took the berth over from a tenant."],
  ["restarts_total", "counter", "Restarts", "Leases after the first one."],
  ["starts_total", "counter", "Starts", "Starts of the server on demand."],
  ["start_failures_total", "counter", "StartFailures", "Starts on demand that failed."],
  ["wakes_total", "counter", "Wakes", "How often something that arrived woke the server, by its kind."],
  ["binds_total", "counter", "Binds", "Calls of bind(2) that the broker answered, by result."],
  ["held_descriptors", "gauge", "HeldDescriptors", "Descriptors that the broker holds for the berth."],
  ["receive_queue_bytes", "gauge", "QueueBytes", "Memory of the datagrams that wait in the berth's sockets."],
  ["receive_queue_limit_bytes", "gauge", "QueueLimitBytes", "The most memory of waiting datagrams."],
  ["dropped_datagrams_total", "counter", "Drops", "Datagrams lost because a receive queue was full."],
  ["accept_queue_connections", "gauge", "AcceptQueue", "Connections that wait for accept(2)."],
  ["accept_queue_limit_connections", "gauge", "AcceptQueueLimit", "The most connections that may wait for accept(2)."],
  ["tenant_memory_bytes", "gauge", "TenantMemoryBytes", "Memory of the server's control group."],
  ["tenant_memory_limit_bytes", "gauge", "TenantMemoryLimitBytes", "The most memory of the server's control group."],
  ["tenant_cpu_seconds_total", "counter", "TenantCpuSeconds", "Processor time of the server's control group."],
];

const ofBroker: readonly Row[] = [
  ["acquires_total", "counter", "Acquires", "Calls of Acquire and Launch that were granted."],
  ["refusals_total", "counter", "Refusals", "Error replies of the broker, by error."],
  ["connections_accepted_total", "counter", "ConnectionsAccepted", "Connections that clients made to the broker."],
  ["connections_refused_total", "counter", "ConnectionsRefused", "Connections closed because of a limit, by limit."],
  ["connections", "gauge", "Connections", "Open connections to the broker."],
  ["watchers", "gauge", "Watchers", "Connections on which somebody watches."],
  ["bind_servers", "gauge", "BindServers", "Servers whose calls of bind(2) the broker answers."],
  ["open_descriptors", "gauge", "OpenDescriptors", "Open descriptors of the broker."],
  ["max_descriptors", "gauge", "DescriptorLimit", "The most open descriptors of the broker."],
  ["resident_memory_bytes", "gauge", "ResidentBytes", "Resident memory of the broker."],
  ["cpu_seconds_total", "counter", "CpuSeconds", "Processor time of the broker."],
  ["busy_seconds_total", "counter", "BusySeconds", "How long the broker's event loop was busy."],
  ["event_loop_delay_seconds", "gauge", "DelaySeconds", "How long the last such call waited for the event loop."],
  ["uptime_seconds", "gauge", "UptimeSeconds", "How long the broker has been running."],
];

const labels: Readonly<Record<string, ExposedFamily["label"]>> = {
  Wakes: { field: "cause", name: "reason" },
  Binds: { field: "result", name: "result" },
  Refusals: { field: "error", name: "reason" },
  ConnectionsRefused: { field: "limit", name: "reason" },
};

export const exposedFamilies: readonly ExposedFamily[] = [
  ...ofBerth.map((row) => family(row, true)),
  ...ofBroker.map((row) => family(row, false)),
];

function family([name, type, from, help]: Row, isOfBerth: boolean): ExposedFamily {
  const label = labels[from];
  return { name, help, type, from, ofBerth: isOfBerth, ...(label !== undefined && { label }) };
}
