/** Taking a berth: `acquire("arena@bob")` gives its sockets, already bound, to this process. */
import { BerthError, RefusedError } from "../errors.ts";
import type { Reply, VarlinkClient } from "../varlink/client.ts";
import { type ConnectOptions, connect } from "./connect.ts";
import { Tenancy } from "./tenancy.ts";
import { readGranted } from "./tenant-descriptor.ts";

export interface AcquireOptions extends ConnectOptions {
  /**
   * "no" (default): refuse when another process has the berth. "try": take over from it if there is one; "must": only
   * take over. After a takeover both have the berth until this one calls `ready()`.
   */
  readonly replace?: "no" | "try" | "must";
  /** Wait until the berth is free instead of being refused as occupied. */
  readonly wait?: boolean;
  /**
   * "bind": where no broker answers, read the berth's configuration and open its sockets in this process. For
   * development: there is no lease, no root, and nothing outlives the process. A warning says so.
   */
  readonly fallback?: "bind";
  /** With `fallback`: folders of berth files in rising precedence. Default: those of `berthd`. */
  readonly config?: readonly string[];
}

const OCCUPIED = "io.berthd.Broker.BerthOccupied";
/** Events after which a berth may be free, or gone, which the next Acquire then says. */
const WORTH_ASKING: ReadonlySet<unknown> = new Set(["present", "added", "released", "removed"]);

/**
 * Takes a berth for this process and receives its descriptors. Throws RefusedError when the broker says no
 * (its `error` says how: BerthOccupied, PermissionDenied, …) and BROKER_UNREACHABLE when there is no broker.
 *
 * ```ts
 * await using tenancy = await acquire("arena@bob");
 * tenancy.net("game").on("connection", (player) => player.end("hello"));
 * await tenancy.ready();
 * ```
 */
export async function acquire(name: string, options: AcquireOptions = {}): Promise<Tenancy> {
  let client: VarlinkClient;
  try {
    client = await connect(options);
  } catch (error) {
    if (options.fallback === undefined || !(error instanceof BerthError) || error.code !== "BROKER_UNREACHABLE")
      throw error;
    return await withoutBroker(name, options, error);
  }
  try {
    const reply =
      options.wait === true ? await acquireWhenFree(client, name, options) : await call(client, name, options);
    const { lease, descriptors } = readGranted(reply);
    return new Tenancy({
      berth: name,
      lease,
      descriptors,
      client,
      reconnect: (signal) => connect({ ...options, signal }),
    });
  } catch (error) {
    client.close();
    throw error;
  }
}

async function withoutBroker(name: string, { config }: AcquireOptions, cause: BerthError): Promise<Tenancy> {
  // Only now: a server in production has no use for the reader of configuration.
  const { bindSockets } = await import("./without-broker.ts");
  const descriptors = await bindSockets(name, config, cause);
  process.emitWarning(`berth ${name}: no broker answers, so this process has opened the sockets itself`, {
    type: "BerthWarning",
    code: "BERTH_FALLBACK",
    detail: cause.message,
  });
  const reconnect = (): Promise<never> => Promise.reject(cause);
  return new Tenancy({ berth: name, lease: "", descriptors, client: undefined, reconnect });
}

function call(client: VarlinkClient, name: string, { replace, signal }: AcquireOptions): Promise<Reply> {
  const parameters = { berth: name, ...(replace !== undefined && { replace }) };
  return client.call("io.berthd.Broker.Acquire", parameters, { signal });
}

/** Asks, then watches and asks again at each change: what happened in between comes first in a watch, as "present". */
async function acquireWhenFree(client: VarlinkClient, name: string, options: AcquireOptions): Promise<Reply> {
  const first = await callUnlessOccupied(client, name, options);
  if (first !== undefined) return first;
  using watcher = await connect(options);
  const events = watcher.stream("io.berthd.Broker.Watch", {}, { signal: options.signal });
  for await (const { parameters } of events) {
    const berth = parameters["berth"] as { readonly name?: unknown } | undefined;
    if (berth?.name !== name || !WORTH_ASKING.has(parameters["event"])) continue;
    const reply = await callUnlessOccupied(client, name, options);
    if (reply !== undefined) return reply;
  }
  throw new BerthError("CONNECTION_CLOSED", `the broker ended the watch for berth ${name}`);
}

async function callUnlessOccupied(
  client: VarlinkClient,
  name: string,
  options: AcquireOptions,
): Promise<Reply | undefined> {
  try {
    return await call(client, name, options);
  } catch (error) {
    if (error instanceof RefusedError && error.error === OCCUPIED) return undefined;
    throw error;
  }
}
