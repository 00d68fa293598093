#!/usr/bin/env node
/** `berthd`: the broker as a daemon. Options in, a {@link Broker} out, and the signals that reload and stop it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError, Option } from "commander";
import { Broker } from "../broker/broker.ts";
import { createLog, type Level, type Log, type LogFormat, stderrIsJournal } from "../broker/log.ts";
import { defaultConfigDirectories } from "../config/directories.ts";
import { BerthError } from "../errors.ts";
import type { FdHandle } from "../fd.ts";
import { packageRoot } from "../native.ts";
import { ownSocketPath } from "../socket-path.ts";
import { listenFds } from "../systemd/activation.ts";
import { createNotify, type Notify } from "../systemd/notify.ts";
import { EXIT_USAGE, fail } from "./exit.ts";

interface Options {
  readonly config: readonly string[];
  readonly state?: string;
  readonly socket?: string;
  readonly deadline: number;
  readonly maxConnections: number;
  readonly maxStash: number;
  readonly logFormat?: LogFormat;
  readonly logLevel: Level;
}

const help = `
Signals:
  SIGHUP             read the configuration again; sockets that stay the same stay open
  SIGTERM, SIGINT    stop: close every held socket; running servers keep theirs

Examples:
  berthd                                        serve /etc/berthd on /run/berthd/io.berthd.Broker
  berthd --config ./berths --socket ./broker    serve a folder of one's own, as any user
  berth check ./berths && systemctl reload berthd

See berthd(8), berthd.toml(5) and berth(1).`;

function command(): Command {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
  return new Command("berthd")
    .description("Holds listening sockets and hands them over as file descriptors to processes without privilege.")
    .version(version)
    .option("--config <dir>", "configuration folder; repeat for more, later ones win", collect, [])
    .option("--state <dir>", "folder for what must outlive the broker; locked while it runs")
    .option("--socket <path>", "control socket; @name for an abstract one")
    .option("--deadline <seconds>", "how long a message may take to arrive or to be read", seconds, 10)
    .option("--max-connections <number>", "connections one user may have open", count, 256)
    .option("--max-stash <number>", "descriptors one user may have stashed", count, 1024)
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

function collect(value: string, list: readonly string[]): string[] {
  return [...list, value];
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

/** The control socket that socket activation passed, if any. */
function activatedSocket(): FdHandle | undefined {
  const passed = listenFds();
  const [first, ...others] = passed;
  for (const { handle } of others) handle.close();
  return first?.handle;
}

async function main(argv: readonly string[]): Promise<void> {
  const options = command().parse(argv).opts<Options>();
  const log = createLog(options.logFormat ?? (stderrIsJournal() ? "journal" : "text"), options.logLevel);
  const notify = createNotify((message) => log("warning", message, { event: "notify" }));
  const socket = activatedSocket() ?? options.socket ?? ownSocketPath();
  const broker = await Broker.start({
    config: options.config.length > 0 ? options.config : defaultConfigDirectories(),
    socket,
    ...(options.state !== undefined && { state: options.state }),
    deadline: options.deadline * 1000,
    quota: { connections: options.maxConnections, stash: options.maxStash },
    log,
  });
  serve(broker, typeof socket === "string" ? socket : "the socket it was given", log, notify);
}

function serve(broker: Broker, where: string, log: Log, notify: Notify): void {
  const status = (): string => `${broker.berths.length} berths, on ${where}`;
  process.on("SIGHUP", () => {
    notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
    try {
      broker.reload();
      log("info", `reloaded: ${status()}`, { event: "reloaded", berths: broker.berths.length });
    } catch (error) {
      if (!(error instanceof BerthError)) throw error;
      for (const line of error.message.split("\n")) log("error", line, { event: "reload-failed" });
      log("error", "the configuration was not reloaded; everything is as it was", { event: "reload-failed" });
    }
    notify(`READY=1\nSTATUS=${status()}`);
  });
  const stop = (signal: NodeJS.Signals): void => {
    notify("STOPPING=1");
    log("info", `stopped by ${signal}`, { event: "stopped" });
    void broker.close();
    for (const name of ["SIGHUP", "SIGTERM", "SIGINT"]) process.removeAllListeners(name);
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  log("info", `ready: ${status()}`, { event: "ready", berths: broker.berths.length });
  notify(`READY=1\nSTATUS=${status()}`);
}

try {
  await main(process.argv);
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  else fail("berthd", error);
}
