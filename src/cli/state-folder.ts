/**
 * Where the state folder is, when no option names it: the programs of one machine must mean the same one. `berth` asks
 * the running broker. Without one, and for berthd itself, it is the default folder.
 */
import { resolve } from "node:path";
import { connect } from "../client/connect.ts";
import { defaultStateDirectory } from "../config/directories.ts";
import { BerthError, RefusedError } from "../errors.ts";
import type { SocketChoice, StateChoice } from "./options.ts";

/** A broker that is stopped answers nothing. */
const ANSWER_TIMEOUT_MS = 5000;

/** The state folder of `berth image` and `berth range`: the named one, else the running broker's, else the default. */
export async function stateFolder({ state, socket }: StateChoice & SocketChoice): Promise<string> {
  return state === undefined ? ((await brokersFolder(socket)) ?? defaultStateDirectory()) : resolve(state);
}

/** Undefined where no broker runs, or where it has no such folder or does not tell. */
async function brokersFolder(socket: string | undefined): Promise<string | undefined> {
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  try {
    using client = await connect({ ...(socket !== undefined && { socket }), signal });
    using reply = await client.call("io.berthd.Broker.GetStateFolder", {}, { signal });
    const { folder } = reply.parameters;
    return typeof folder === "string" ? folder : undefined;
  } catch (error) {
    if (error instanceof RefusedError) return undefined;
    if (error instanceof BerthError && error.code === "BROKER_UNREACHABLE") return undefined;
    if (!signal.aborted) throw error;
    throw new BerthError("BROKER_UNREACHABLE", "the broker does not tell its state folder; name it with --state DIR");
  }
}
