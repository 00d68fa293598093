/** Berths as the broker tells of them: held against the interface before anybody relies on them. */
import { BerthError, RefusedError } from "../../errors.ts";
import { printableJson } from "../../printable.ts";
import { parseInterface } from "../../varlink/idl.ts";
import { brokerInterface } from "../../varlink/interfaces/io.berthd.Broker.ts";
import type { Berth as BerthRecord, BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import type { Parameters } from "../../varlink/message.ts";
import { compileReply } from "../../varlink/validate.ts";
import { askBroker } from "../ask.ts";
import type { BrokerChoice } from "../options.ts";

export type {
  Berth as BerthRecord,
  Descriptor as DescriptorRecord,
  Lease as LeaseRecord,
  Start as StartRecord,
  Wake as WakeRecord,
} from "../../varlink/interfaces/io.berthd.Broker.types.ts";

/** One reply of Watch. */
export interface EventRecord {
  readonly event: string;
  readonly berth: BerthRecord;
}

export type StoppedRecord = BrokerMethods["Stop"]["reply"];
export type DrainRecord = BrokerMethods["Drain"]["reply"];
export type CancelRecord = BrokerMethods["CancelDrain"]["reply"];

const contract = parseInterface(brokerInterface);
// A newer broker may tell more than this version knows.
const problemOfList = compileReply(contract, "List", "ignore");
const problemOfEvent = compileReply(contract, "Watch", "ignore");

/**
 * The types above are the interface's, so a reply that fits the one is the other. Throws PROTOCOL_ERROR if it does not.
 */
function assertFits<T>(method: string, problem: string | undefined, _: Parameters): asserts _ is Parameters & T {
  if (problem !== undefined) throw malformed(method, problem);
}

/** All berths that the caller may see. Throws BROKER_UNREACHABLE. */
export async function listBerths(choice: BrokerChoice): Promise<readonly BerthRecord[]> {
  return (await listFrom(choice)).berths;
}

/** With the path of the broker's socket. */
function listFrom(choice: BrokerChoice): Promise<{ readonly berths: readonly BerthRecord[]; readonly path: string }> {
  return askBroker(choice, async ({ client, path, signal }) => {
    using reply = await client.call("io.berthd.Broker.List", {}, { signal });
    const { parameters } = reply;
    assertFits<{ readonly berths: readonly BerthRecord[] }>("List", problemOfList(parameters), parameters);
    return { berths: parameters.berths, path };
  });
}

/** One berth that the caller may see. Throws NoSuchBerth as a broker does. */
export async function findBerth(name: string, choice: BrokerChoice): Promise<BerthRecord> {
  return (await locateBerth(name, choice)).record;
}

/** As {@link findBerth}, with the path of the broker's socket. */
export async function locateBerth(
  name: string,
  choice: BrokerChoice,
): Promise<{ readonly record: BerthRecord; readonly path: string }> {
  const { berths, path } = await listFrom(choice);
  const record = berths.find((candidate) => candidate.name === name);
  if (record === undefined) throw noSuchBerth(name);
  return { record, path };
}

/** As the broker refuses it. */
export function noSuchBerth(name: string): RefusedError {
  const message = `there is no berth ${printableJson(name)}, or you may not take it; \`berth ls\` lists those you may`;
  return new RefusedError("io.berthd.Broker.NoSuchBerth", { berth: name, message });
}

/** Reads one reply of Watch. */
export function readEvent(parameters: Parameters): EventRecord {
  assertFits<EventRecord>("Watch", problemOfEvent(parameters), parameters);
  return parameters;
}

/** The reply of Stop. */
export function readStopped(parameters: Parameters): StoppedRecord {
  const problem = compileReply(contract, "Stop", "ignore")(parameters);
  assertFits<StoppedRecord>("Stop", problem, parameters);
  return parameters;
}

/** The reply of Drain. */
export function readDrain(parameters: Parameters): DrainRecord {
  const problem = compileReply(contract, "Drain", "ignore")(parameters);
  assertFits<DrainRecord>("Drain", problem, parameters);
  return parameters;
}

/** The reply of CancelDrain. */
export function readCancel(parameters: Parameters): CancelRecord {
  const problem = compileReply(contract, "CancelDrain", "ignore")(parameters);
  assertFits<CancelRecord>("CancelDrain", problem, parameters);
  return parameters;
}

function malformed(method: string, path: string): BerthError {
  return new BerthError(
    "PROTOCOL_ERROR",
    `the broker's reply to ${method} has no usable ${path}; is it a berthd of this version?`,
  );
}
