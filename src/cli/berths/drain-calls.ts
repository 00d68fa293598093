/** The calls of `berth drain` and `berth upgrade`, and their options. */
import { Option } from "commander";
import { LONGEST_DRAIN_SECONDS } from "../../berth-state.ts";
import { secondsOfDuration } from "../../config/toml/reader.ts";
import { BerthError } from "../../errors.ts";
import { askBroker } from "../ask.ts";
import type { BrokerChoice } from "../options.ts";
import {
  type BerthRecord,
  type CancelRecord,
  type DrainRecord,
  findBerth,
  readCancel,
  readDrain,
} from "./berth-records.ts";

const DEFAULT_DEADLINE = "30min";

export interface DrainChoice extends BrokerChoice {
  /** Seconds. */
  readonly deadline?: number;
  readonly whenEmpty?: true;
}

/** What a drain has come to, with the players at that time. */
export type Drained = DrainRecord & Pick<BerthRecord, "players">;

/** `--deadline DURATION`. `what`: what happens then. */
export function deadlineOption(what: string): Option {
  const description = `when ${what} at the latest, as 90s or 2h (default: ${DEFAULT_DEADLINE})`;
  return new Option("--deadline <duration>", description).argParser(readDeadline);
}

export function whenEmptyOption(): Option {
  return new Option("--when-empty", "without a deadline: only once nobody plays").conflicts("deadline");
}

/** Drains one berth. Without a deadline and --when-empty, one that drains already keeps its own. */
export async function drain(berth: string, options: DrainChoice): Promise<Drained> {
  const { deadline, whenEmpty } = options;
  const { drain: known, lease, players } = await findBerth(berth, options);
  if (known && lease && deadline === undefined && !whenEmpty) return { drain: known, lease, players };
  const within = whenEmpty ? undefined : (deadline ?? secondsOfDuration(DEFAULT_DEADLINE));
  return await askBroker(options, async ({ client, signal }) => {
    using reply = await client.call("io.berthd.Broker.Drain", { berth, within }, { signal });
    return { ...readDrain(reply.parameters), players };
  });
}

export async function cancelDrain(berth: string, options: BrokerChoice): Promise<CancelRecord> {
  return await askBroker(options, async ({ client, signal }) => {
    using reply = await client.call("io.berthd.Broker.CancelDrain", { berth }, { signal });
    return readCancel(reply.parameters);
  });
}

function readDeadline(text: string): number {
  const seconds = secondsOfDuration(text);
  if (seconds >= 1 && seconds <= LONGEST_DRAIN_SECONDS) return seconds;
  throw new BerthError("USAGE", `--deadline ${text} is not a time from 1s to 168h; write for example --deadline 30min`);
}
