/** The command line of `berthd`: its options, and the text of its help. It starts nothing. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import { BerthError } from "../errors.ts";
import type { Level, LogFormat } from "../log.ts";
import { packageRoot } from "../native.ts";
import { type Pool, parsePool } from "../rootfs/ranges/range.ts";
import { collect } from "./options.ts";

/** What the options give. */
export interface BerthdOptions {
  readonly config: readonly string[];
  readonly strict?: boolean;
  readonly state?: string;
  readonly ranges?: Pool;
  readonly socket?: string;
  readonly replace: Replace;
  readonly deadline: number;
  readonly maxConnections: number;
  readonly maxStash: number;
  /** Names or ids of users. */
  readonly observer: readonly string[];
  readonly logFormat?: LogFormat;
  readonly logLevel: Level;
}

/** Whether to take over from a broker on the socket: never, if there is one, or there must be one. */
export type Replace = "no" | "try" | "must";

const help = `
Signals:
  SIGHUP             read the configuration again; sockets that stay the same stay open
  SIGTERM, SIGINT    stop: close every held socket; running servers keep theirs, and so does
                     the service manager's store of descriptors, for the next broker

Examples:
  berthd                                        serve /etc/berthd on /run/berthd/io.berthd.Broker
  berthd --config ./berths --socket ./broker    serve a folder of one's own, as any user
  berth check ./berths && berth reload
  berthd --replace try                          as the first, and take over everything from one that runs

See berthd(8), berthd.toml(5) and berth(1).`;

/** A fresh command: parsing leaves its values in it. */
export function berthdCommand(): Command {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return new Command("berthd")
    .description("Holds listening sockets and hands them over as file descriptors to processes without privilege.")
    .version(version)
    .option("--config <dir>", "configuration folder; repeat for more, later ones win", collect, [])
    .addOption(new Option("--strict", "do not start if any berth has a problem; so it is by default with --replace"))
    .addOption(new Option("--no-strict", "serve the berths without problems"))
    .option(
      "--state <dir>",
      "folder for images, ranges and roots; locked while it runs (default, with roots: the user's)",
    )
    .option("--ranges <first-last>", "ids for berths with a root", parsePool)
    .option("--socket <path>", "control socket; @name for an abstract one")
    .addOption(
      new Option("--replace <how>", "take over from the broker on that socket: if there is one, or there must be one")
        .choices(["no", "try", "must"])
        .default("no"),
    )
    .option("--deadline <seconds>", "how long a message may take to arrive or to be read", seconds, 10)
    .option("--max-connections <number>", "connections one user may have open", count, 256)
    .option("--max-stash <number>", "descriptors one user may have stashed", count, 1024)
    .option("--observer <user>", "who may see all berths and report players; repeat for more", collect, [])
    .addOption(new Option("--log-format <format>", "format of the log on stderr").choices(["text", "journal", "json"]))
    .addOption(
      new Option("--log-level <level>", "least important event to log")
        .choices(["error", "warning", "notice", "info", "debug"])
        .default("info"),
    )
    .addHelpText("after", help)
    .allowExcessArguments(false)
    .exitOverride();
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600))
    throw new BerthError("USAGE", `--deadline ${text}: write seconds, above 0 and up to 3600`);
  return value;
}

function count(text: string): number {
  const value = Number(text);
  if (!(Number.isInteger(value) && value >= 1)) throw new BerthError("USAGE", `"${text}" is not a number from 1 up`);
  return value;
}
