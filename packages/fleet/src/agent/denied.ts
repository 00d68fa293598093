/** Parts of the agent that need rights beyond those for its own host, which etcd may deny. */
import { Fault } from "../fault.ts";

/** Resolves with the part, also where etcd denies it; then `told` has the fault. Throws what else it throws. */
export async function unlessDenied(part: Promise<void>, told: (fault: Fault) => void): Promise<void> {
  try {
    await part;
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "ETCD_DENIED") throw error;
    told(error);
  }
}
