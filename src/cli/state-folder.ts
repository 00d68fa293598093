/**
 * Where the state folder is, when no option names it: the programs of one machine must mean the same one. `berth` asks
 * the running broker. Without one, and for berthd itself, it is the default folder.
 */
import { resolve } from "node:path";
import { connect } from "../client/connect.ts";
import { defaultStateDirectory } from "../config/directories.ts";
import { readConfigFiles } from "../config/toml/read-files.ts";
import { BerthError, RefusedError } from "../errors.ts";
import { configuredRoots } from "./configured.ts";
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

/**
 * The state folder of a broker: the named one; the default one if a berth has a root; else none, so that brokers
 * without roots can run beside each other.
 */
export function stateFolderFor(state: string | undefined, directories: readonly string[]): string | undefined {
  if (state !== undefined) return resolve(state);
  return speaksOfRoot(directories) && configuredRoots(directories).specs.length > 0
    ? defaultStateDirectory()
    : undefined;
}

/** Whether a file has the word. Most configurations need not be read twice. */
function speaksOfRoot(directories: readonly string[]): boolean {
  const ignore = (): void => undefined;
  const { berths, dropIns } = readConfigFiles(directories, ignore, ignore);
  const files = [...berths.values(), ...[...dropIns.values()].flatMap(({ files }) => files)];
  return files.some(({ content }) => content.kind === "text" && content.text.includes("root"));
}
