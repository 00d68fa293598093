/**
 * Where the state folder is, when no option names it: the programs of one machine must mean the same one. `berth` asks
 * the running broker. Without one, and for berthd itself, it is the default folder.
 */
import { resolve } from "node:path";
import { defaultStateDirectory } from "../config/directories.ts";
import { BerthError, RefusedError } from "../errors.ts";
import { askBroker, NoAnswerError } from "./ask.ts";
import type { BrokerChoice, StateChoice } from "./options.ts";

/** The state folder of `berth image` and `berth range`: the named one, else the running broker's, else the default. */
export async function stateFolder({ state, ...choice }: StateChoice & BrokerChoice): Promise<string> {
  return state === undefined ? ((await brokersFolder(choice)) ?? defaultStateDirectory()) : resolve(state);
}

/** Undefined where no broker runs, or where it has no such folder or does not tell. */
async function brokersFolder(choice: BrokerChoice): Promise<string | undefined> {
  try {
    return await askBroker(choice, async ({ client, signal }) => {
      using reply = await client.call("io.berthd.Broker.GetStateFolder", {}, { signal });
      const { folder } = reply.parameters;
      return typeof folder === "string" ? folder : undefined;
    });
  } catch (error) {
    if (error instanceof RefusedError) return undefined;
    if (error instanceof NoAnswerError)
      throw new BerthError("BROKER_UNREACHABLE", `${error.message}; or name the state folder: --state DIR`);
    if (error instanceof BerthError && error.code === "BROKER_UNREACHABLE") return undefined;
    throw error;
  }
}
