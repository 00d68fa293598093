/** Holds a berth that has no server, so that none can start in it meanwhile. It neither stops nor starts one. */
import { BerthError, RefusedError } from "../../errors.ts";
import { connectUntil, deadlineOf } from "../ask.ts";
import type { BrokerChoice } from "../options.ts";

export interface VacantBerth extends AsyncDisposable {
  /** Lets servers start again. Never throws: the broker also does it when this process ends. */
  release(): Promise<void>;
}

/**
 * Takes the berth for this process. Throws REFUSED if it has a server. Throws what the broker refuses it with: then
 * a process may still use the files, such as one that its last server has left behind.
 */
export async function holdVacant(name: string, choice: BrokerChoice, signal: AbortSignal): Promise<VacantBerth> {
  const { client } = await connectUntil(choice, AbortSignal.any([signal, deadlineOf(choice)]));
  try {
    using reply = await client.call("io.berthd.Broker.Acquire", { berth: name }, { signal: deadlineOf(choice) });
    const { lease } = reply.parameters;
    let isHeld = true;
    const release = async (): Promise<void> => {
      if (!isHeld) return;
      isHeld = false;
      using _ = client;
      try {
        using _reply = await client.call("io.berthd.Broker.Release", { lease }, { signal: deadlineOf(choice) });
      } catch (error) {
        if (!(error instanceof BerthError)) throw error;
      }
    };
    return { release, [Symbol.asyncDispose]: release };
  } catch (error) {
    client.close();
    throw error instanceof RefusedError && error.error === "io.berthd.Broker.BerthOccupied" ? busy(name) : error;
  }
}

/** The error for a berth that has a server. */
export function busy(name: string): BerthError {
  return new BerthError("REFUSED", `berth ${name} has a server; stop it first: berth stop ${name}`);
}
