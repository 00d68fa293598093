/** `berth range`: the reserved ranges of ids. It works on the state folder, also while no broker runs. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import { accountConflict, processesIn } from "../../rootfs/ranges/ids-in-use.ts";
import { lastOf } from "../../rootfs/ranges/range.ts";
import { Ranges } from "../../rootfs/ranges/ranges.ts";
import { configuredRoots } from "../configured.ts";
import {
  type BrokerChoice,
  type ConfigChoice,
  configOption,
  forceOption,
  jsonOption,
  type StateChoice,
  stateOption,
  timeoutOption,
} from "../options.ts";
import { hasColours, print } from "../print/stdout.ts";
import { type Cell, renderTable } from "../print/table.ts";
import { stateFolder } from "../state-folder.ts";

interface ListChoice extends StateChoice, ConfigChoice {
  readonly json?: true;
  readonly names?: true;
}

interface ForgetChoice extends StateChoice, ConfigChoice {
  readonly force?: true;
}

const listHelp = `
A range stays reserved after its berth is removed, because files on disk still belong to its ids.

Examples:
  berth range ls
  berth range ls --json | jq -r '.[] | select(.configuration == null).owner'`;

const forgetHelp = `
Afterwards another berth can get the range, and every file that still belongs to its ids. Without --force, the command
is therefore refused while one of these is true:
  - a berth of that name is configured with a root
  - a process has ids of the range
  - the state folder has files of the berth

Examples:
  rm -r /var/lib/berthd/roots/arena@bob && berth range forget arena@bob`;

/** A reserved range and its uses, as \`--json\` prints them. */
interface RangeRecord {
  readonly owner: string;
  readonly base: number;
  readonly count: number;
  readonly since: string;
  /** The file that configures the berth; null if no configured berth of that name has a root. */
  readonly configuration: string | null;
  /** Processes that have ids of the range. */
  readonly processes: readonly number[];
  /** An account that also has ids of the range; null if there is none. */
  readonly conflict: string | null;
}

export function addRange(program: Command): void {
  const range = program.command("range").description("ranges of user and group ids that are reserved for berths");
  range
    .command("ls")
    .description("list the ranges, their owners and their uses")
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addOption(configOption())
    .addOption(jsonOption("the list").conflicts("names"))
    .option("--names", "print only the owners, one per line")
    .addHelpText("after", listHelp)
    .action(async ({ config, json, names }: ListChoice, command: Command) => {
      const ranges = Ranges.open(join(await folderOf(command), "ranges"));
      if (names)
        print(
          ranges
            .list()
            .map(({ owner }) => `${printable(owner)}\n`)
            .join(""),
        );
      else {
        const records = recordsOf(ranges, config);
        print(json ? `${printableJson(records, 2)}\n` : rangeTable(records, hasColours()));
      }
    });
  range
    .command("forget")
    .description("free the range of a berth that is gone for good")
    .argument("<owner>", "the berth")
    .addOption(forceOption("even if the range is in use"))
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addOption(configOption())
    .addHelpText("after", forgetHelp)
    .action(async (owner: string, { config, force }: ForgetChoice, command: Command) => {
      const folder = await folderOf(command);
      const ranges = Ranges.open(join(folder, "ranges"));
      const record = recordsOf(ranges, config).find((candidate) => candidate.owner === owner);
      if (record === undefined)
        throw new BerthError("RANGE_UNAVAILABLE", `${printable(owner)} has no range; berth range ls lists all ranges`);
      const uses = usesOf(record, join(folder, "roots", owner));
      if (uses.length > 0 && !force)
        throw new BerthError(
          "RANGE_IN_USE",
          `the range of ${printable(owner)} is in use: ${uses.join("; ")}; or use --force`,
        );
      ranges.forget(owner);
    });
}

/** The state folder that the command's options mean. */
function folderOf(command: Command): Promise<string> {
  return stateFolder(command.optsWithGlobals<StateChoice & BrokerChoice>());
}

function recordsOf(ranges: Ranges, config: readonly string[] | undefined): RangeRecord[] {
  const roots = configuredRoots(config);
  const list = ranges.list();
  const processes = processesIn(list);
  return list.map((reservation) => ({
    ...reservation,
    configuration: roots.specs.find(({ name }) => name === reservation.owner)?.origin.file ?? null,
    processes: processes.get(reservation.base) ?? [],
    conflict: accountConflict(reservation) ?? null,
  }));
}

function usesOf({ configuration, processes }: RangeRecord, files: string): string[] {
  return [
    ...(configuration === null ? [] : [`${configuration} configures the berth: remove its [root] first`]),
    ...(processes.length === 0 ? [] : [`processes have its ids: end them first (kill ${processes.join(" ")})`]),
    ...(existsSync(files) ? [`the berth's state is still there: remove it first (rm -r ${files})`] : []),
  ];
}

function rangeTable(records: readonly RangeRecord[], isColoured: boolean): string {
  if (records.length === 0) return "no ranges\n";
  const heads = ["OWNER", "FIRST", "LAST", "PROCESSES", "CONFIGURATION"];
  const header = heads.map((text): Cell => ({ text, style: "dim" }));
  const rows = records.map(({ owner, base, count, processes, configuration, conflict }): Cell[] => [
    { text: printable(owner) },
    { text: String(base) },
    { text: String(lastOf({ base, count })) },
    { text: String(processes.length) },
    conflict === null
      ? { text: configuration === null ? "none" : printable(configuration) }
      : { text: `conflict: ${printable(conflict)}`, style: "yellow" },
  ]);
  return renderTable([header, ...rows], isColoured);
}
