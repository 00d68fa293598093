/**
 * Keeps a berth's files still: stops its server, and takes the berth, so that no other server starts meanwhile, on
 * demand neither. Afterwards it starts the server again, if systemd ran it. It touches no file.
 */
import { BerthError, RefusedError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import type { VarlinkClient } from "../../varlink/client.ts";
import { connectUntil, deadlineOf } from "../ask.ts";
import { type BerthRecord, listBerths } from "../berths/berth-records.ts";
import { stopOn } from "../commands/stop.ts";
import type { BrokerChoice } from "../options.ts";
import { servicesFor, unitOf } from "../services.ts";
import { awaitServer } from "../started.ts";

export interface HeldBerth {
  /** The server that was stopped; null if none ran. */
  readonly stopped: number | null;
  /** Gives the berth back, and starts the server that was stopped. Its pid; null if there is none to start. */
  release(): Promise<number | null>;
}

/** The berth as the broker knows it. Undefined where no broker runs, or where it has no such berth. */
export async function knownBerth(name: string, choice: BrokerChoice): Promise<BerthRecord | undefined> {
  try {
    return (await listBerths(choice)).find((berth) => berth.name === name);
  } catch (error) {
    if (error instanceof BerthError && error.code === "BROKER_UNREACHABLE" && choice.socket === undefined)
      return undefined;
    throw error;
  }
}

/** Throws SYSTEM_ERROR if the server was started by hand: nobody could start it again as it was. */
export async function holdBerth(
  berth: BerthRecord | undefined,
  name: string,
  choice: BrokerChoice,
  signal: AbortSignal,
): Promise<HeldBerth> {
  if (berth === undefined) return { stopped: null, release: () => Promise.resolve(null) };
  const unit = await unitOfServer(berth);
  // Also after Ctrl-C: the server ran before.
  const start = async (): Promise<number | null> => {
    if (unit === undefined) return null;
    const services = await servicesFor(name);
    await services.run("start", [unit]);
    return (await awaitServer(name, services, choice, new AbortController().signal)).pid;
  };
  const late = deadlineOf(choice);
  const { client } = await connectUntil(choice, AbortSignal.any([signal, late]));
  // Both at once, so that no packet that waits starts the next server between them.
  const stopping = berth.lease ? stopOn(client, name, choice, signal, late) : undefined;
  const taking = take(client, name, late);
  const [stop, taken] = await Promise.allSettled([stopping, taking]);
  if (stop.status === "rejected") {
    using _ = client;
    if (taken.status === "fulfilled") await taken.value(deadlineOf(choice));
    throw stop.reason; // it still runs
  }
  if (taken.status === "rejected") {
    client.close();
    await start();
    throw taken.reason;
  }
  return {
    stopped: stop.value?.lease?.pid ?? null,
    release: async () => {
      using _ = client;
      await taken.value(deadlineOf(choice));
      return await start();
    },
  };
}

/** The unit of the berth's server. Undefined if no server runs, or if the broker itself starts it on demand. */
async function unitOfServer({ name, lease, start }: BerthRecord): Promise<string | undefined> {
  if (!lease) return undefined;
  const unit = unitOf(name);
  if (lease.unit === unit) return unit;
  if (start?.state === "running") return undefined;
  const isUnits = await servicesFor(name).then(
    async (services) => (await services.mainOf(unit)) === lease.pid,
    () => false,
  );
  if (isUnits) return unit;
  const message = `pid ${lease.pid} of berth ${printable(name)} was started by hand, so nothing would start it again; end it first: berth stop ${printable(name)}`;
  throw new BerthError("SYSTEM_ERROR", message);
}

/**
 * Takes the berth for this process, and returns what gives it back. A berth with a problem cannot be taken, and no
 * server can start in it either.
 */
async function take(
  client: VarlinkClient,
  name: string,
  signal: AbortSignal,
): Promise<(deadline: AbortSignal) => Promise<void>> {
  try {
    using reply = await client.call("io.berthd.Broker.Acquire", { berth: name }, { signal });
    const { lease } = reply.parameters;
    return async (deadline) => {
      using _ = await client.call("io.berthd.Broker.Release", { lease }, { signal: deadline });
    };
  } catch (error) {
    if (error instanceof RefusedError && NOT_STARTABLE.has(error.error)) return () => Promise.resolve();
    throw error;
  }
}

const NOT_STARTABLE: ReadonlySet<string> = new Set([
  "io.berthd.Broker.BerthHasProblems",
  "io.berthd.Broker.RootUnavailable",
]);
