/** What a broker counts of its clients, from its start on: numbers that grow in place, read only for the metrics. */
import { Latency } from "./latency.ts";

/** Why a connection was refused. */
export type ConnectionLimit = "connections" | "descriptors" | "arrivals";

export class BrokerCounts {
  /** Calls of Acquire on one connection that got the answer of the one before again: these are not timed. */
  repeated = 0;
  /** All other calls of Acquire and Launch that were granted. */
  readonly acquires: Latency = new Latency();
  /** Connections that were accepted. */
  connections = 0;
  readonly refusedConnections: Record<ConnectionLimit, number> = { connections: 0, descriptors: 0, arrivals: 0 };
  /** Error replies, by the name of the error. Only errors of our interfaces are sent, so there are few. */
  readonly errors: Map<string, number> = new Map();

  /** An error reply is sent. */
  refused(error: string): void {
    this.errors.set(error, (this.errors.get(error) ?? 0) + 1);
  }
}
