/** `berth reload`: has the broker read its configuration again, and says what is wrong with it. */
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import { parseInterface } from "../../varlink/idl.ts";
import { brokerInterface } from "../../varlink/interfaces/io.berthd.Broker.ts";
import type { BrokerMethods } from "../../varlink/interfaces/io.berthd.Broker.types.ts";
import type { Parameters } from "../../varlink/message.ts";
import { compileReply } from "../../varlink/validate.ts";
import { askBroker } from "../ask.ts";
import { type BrokerChoice, jsonOption, socketOption, timeoutOption } from "../options.ts";
import { print } from "../print/stdout.ts";

interface ReloadOptions extends BrokerChoice {
  readonly json?: true;
}

/** What the broker says of it. */
export type Reloaded = BrokerMethods["Reload"]["reply"];

const help = `
All of the new configuration is in force afterwards, or nothing has changed. What was wrong with a berth before, and
still is, does not keep the others from changing.
Exit status: 0 reloaded, 1 refused with every problem, 100 usage, 111 no broker.

Examples:
  berth reload
  berth check && berth reload`;

export function addReload(program: Command): void {
  program
    .command("reload")
    .description("have the broker read its configuration again")
    .addOption(socketOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("the result"))
    .addHelpText("after", help)
    .action(async (_options: ReloadOptions, command: Command) => {
      const options = command.optsWithGlobals<ReloadOptions>();
      const reloaded = await askToReload(options);
      print(options.json ? `${printableJson(reloaded, 2)}\n` : describeReloaded(reloaded));
    });
}

/** Has the broker reload. Throws its refusal, with every new problem. */
export async function askToReload(choice: BrokerChoice): Promise<Reloaded> {
  return await askBroker(choice, async ({ client, signal }) => {
    using reply = await client.call("io.berthd.Broker.Reload", {}, { signal });
    const { parameters } = reply;
    assertReloaded(parameters);
    return parameters;
  });
}

const problemOf = compileReply(parseInterface(brokerInterface), "Reload", "ignore");

function assertReloaded(parameters: Parameters): asserts parameters is Parameters & Reloaded {
  const problem = problemOf(parameters);
  if (problem === undefined) return;
  throw new BerthError("PROTOCOL_ERROR", `the broker's reply to Reload has no usable ${problem}`);
}

/** As people read it. */
export function describeReloaded({ berths, problems }: Reloaded): string {
  const still = problems.map(({ file, line, message }) => `still ${printable(`${file}:${line}: ${message}`)}\n`);
  return `${still.join("")}reloaded: ${berths} ${berths === 1 ? "berth" : "berths"}\n`;
}
