/**
 * Loads the broker floor by floor. Node opens all files of one wave of imports at the same time; with a small
 * RLIMIT_NOFILE that would be more files than the whole broker needs later (test/broker/session/scarcity.test.ts).
 */
import type { Broker } from "./broker.ts";

/** The class {@link Broker}. */
export async function loadBroker(): Promise<typeof Broker> {
  await import("./berths/berths.ts");
  await import("./bind/interceptions.ts");
  await import("./session/listener.ts");
  await import("./session/methods.ts");
  await import("./drain/drains.ts");
  await import("./demand/on-demand.ts");
  await import("./metrics/methods.ts");
  await import("./restart/restore.ts");
  await import("./restart/takeover-server.ts");
  return (await import("./broker.ts")).Broker;
}
