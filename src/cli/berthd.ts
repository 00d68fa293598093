#!/usr/bin/env node
/**
 * `berthd`: the broker as a daemon. Reads the options, starts a {@link Broker}, and handles the signals for reload and
 * stop.
 */
import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import { CommanderError } from "commander";
import { systemAccounts } from "../accounts.ts";
import { ownUnit } from "../broker/access/peer.ts";
import type { Broker } from "../broker/broker.ts";
import { loadBroker } from "../broker/load.ts";
import { Predecessor } from "../broker/restart/takeover-client.ts";
import { defaultConfigDirectories, defaultStateDirectory } from "../config/directories.ts";
import { BerthError, SysError } from "../errors.ts";
import { createLog, type Log, stderrIsJournal } from "../log.ts";
import { native } from "../native.ts";
import { ownSocketPath } from "../net/socket-path.ts";
import { listenFds, type PassedFd } from "../systemd/activation.ts";
import { FdStore, fdStoreMax } from "../systemd/fd-store.ts";
import { ManagerSocket, managerAddress } from "../systemd/manager-socket.ts";
import { createNotify, type Notify } from "../systemd/notify.ts";
import { StatusLine } from "../systemd/status-line.ts";
import { startWatchdog, watchdogInterval } from "../systemd/watchdog.ts";
import { type BerthdOptions, berthdCommand, type Replace } from "./berthd-options.ts";
import { observersOf } from "./observers.ts";
import { EXIT_USAGE, fail } from "./print/exit.ts";

/** Milliseconds to wait at exit until the service manager has received the last message. */
const BARRIER_TIMEOUT_MS = 5000;

/** What the service manager set: where it listens, whether it stores descriptors, and the watchdog's interval. */
interface Service {
  readonly notify: Notify;
  readonly manager: ManagerSocket | undefined;
  readonly store: FdStore | undefined;
  /** Milliseconds. */
  readonly watchdog: number | undefined;
  /** The running watchdog. */
  watched?: Disposable;
}

/** Reads the variables and removes them: children must not use them. */
function findService(log: Log, env: NodeJS.ProcessEnv): Service {
  const notify = createNotify((message) => log("warning", message, { event: "notify" }), env);
  const address = managerAddress(env);
  const manager = typeof address === "object" ? new ManagerSocket(address, native) : undefined;
  const max = manager && fdStoreMax(env, ownUnit());
  const store = manager && max !== undefined ? new FdStore(manager, max) : undefined;
  const watchdog = watchdogInterval(env);
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE"]) delete env[name];
  return { notify, manager, store, watchdog };
}

async function main(argv: readonly string[]): Promise<void> {
  const options = berthdCommand().parse(argv).opts<BerthdOptions>();
  const log = createLog(options.logFormat ?? (stderrIsJournal() ? "journal" : "text"), options.logLevel);
  const service = findService(log, process.env);
  // A reload requested before there is a configuration to read again.
  let isReloadDue = false;
  const remember = (): void => {
    isReloadDue = true;
  };
  process.on("SIGHUP", remember);
  for (const directory of options.config) mustExist(directory);
  const status = new StatusLine(() => (broker === undefined ? "starting" : describe(broker)), service.notify);
  let broker: Broker | undefined;
  try {
    const passed = listenFds();
    const socket = options.socket ?? ownSocketPath();
    const predecessor = await findPredecessor(options.replace, socket, passed);
    const Broker = await loadBroker();
    const config = options.config.length > 0 ? options.config : defaultConfigDirectories();
    broker = await Broker.start({
      config,
      socket,
      passed,
      ...(options.strict !== undefined && { strict: options.strict }),
      ...(predecessor !== undefined && { predecessor }),
      ...(service.store !== undefined && { store: service.store }),
      ...(options.state === undefined ? { defaultState: defaultStateDirectory() } : { state: resolve(options.state) }),
      serverLogs: join(resolve(options.state ?? defaultStateDirectory()), "logs"),
      ...(options.ranges !== undefined && { ranges: options.ranges }),
      deadline: options.deadline * 1000,
      observers: observersOf(options.observer, systemAccounts(native), log),
      quota: { connections: options.maxConnections, stash: options.maxStash },
      log,
      onChange: () => status.changed(),
      onReload: (reload) => reloadAndTell(reload, () => broker, log, service, status),
      onReplaced: () => end(service, status),
    });
  } catch (error) {
    service.notify(failure(error));
    throw error;
  }
  process.off("SIGHUP", remember);
  serve(broker, log, service, status);
  if (isReloadDue) process.emit("SIGHUP", "SIGHUP");
}

/** The broker to take over from. With passed sockets there is none: only this process can have them. */
async function findPredecessor(
  how: Replace,
  socket: string,
  passed: readonly PassedFd[],
): Promise<Predecessor | undefined> {
  if (how === "no") return undefined;
  const found = passed.length > 0 ? undefined : await Predecessor.find(socket);
  if (found !== undefined || how === "try") return found;
  const why = passed.length > 0 ? "the program that started this one passed it sockets" : "no program listens there";
  throw new BerthError(
    "BROKER_UNREACHABLE",
    `no broker to take over from at ${socket}: ${why}; --replace try starts anyway`,
  );
}

/** What `systemctl status` shows after a failed start. */
function failure(error: unknown): string {
  const errno = error instanceof SysError ? error : error instanceof Error ? error.cause : undefined;
  const [line = ""] = String(error instanceof Error ? error.message : error).split("\n");
  return `${errno instanceof SysError ? `ERRNO=${errno.errno}\n` : ""}STATUS=cannot start: ${line}`;
}

function describe(broker: Broker): string {
  const { counts, outdated } = broker;
  const { berths, taken, troubled } = counts;
  const problems = troubled === 0 ? "" : `, ${troubled} with problems`;
  const disk = outdated ? "; the configuration on disk is not the one in force: the last reload was refused" : "";
  return `${berths} ${berths === 1 ? "berth" : "berths"}, ${taken} taken${problems}${disk}`;
}

/** Runs a reload, and tells the service manager and the log. Throws what it throws. */
function reloadAndTell(
  reload: () => void,
  current: () => Broker | undefined,
  log: Log,
  { notify }: Service,
  status: StatusLine,
): void {
  notify(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}\nSTATUS=reading the configuration`);
  try {
    reload();
    const broker = current();
    if (broker !== undefined)
      log("info", `reloaded: ${describe(broker)}`, { event: "reloaded", berths: broker.counts.berths });
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    for (const line of error.message.split("\n")) log("error", line, { event: "reload-failed" });
    log("error", "the configuration was not reloaded; nothing changed", { event: "reload-failed" });
    throw error;
  } finally {
    notify(`READY=1\n${status.take()}`);
  }
}

/** A folder that somebody has named and that is not there is more likely mistyped than empty. */
function mustExist(directory: string): void {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return;
  throw new BerthError("USAGE", `--config ${directory}: there is no such folder; name one that holds NAME.toml files`);
}

/** Handles and reports nothing any more, so that the process ends with the broker. */
function end({ notify, watched }: Service, status: StatusLine): void {
  for (const name of ["SIGHUP", "SIGTERM", "SIGINT"]) process.removeAllListeners(name);
  notify("STOPPING=1\nSTATUS=stopping");
  status[Symbol.dispose]();
  watched?.[Symbol.dispose]();
}

function serve(broker: Broker, log: Log, service: Service, status: StatusLine): void {
  const { notify, manager, watchdog } = service;
  const where = `${describe(broker)}, on ${broker.where}`;
  process.on("SIGHUP", () => {
    void broker.reloadInSlices().catch((error: unknown) => {
      if (!(error instanceof BerthError)) throw error; // it was logged
    });
  });
  if (watchdog !== undefined) service.watched = startWatchdog(watchdog, () => broker.healthy, notify);
  const stop = (signal: NodeJS.Signals): void => {
    log("info", `stopped by ${signal}`, { event: "stopped" });
    end(service, status);
    void broker.close();
    // The manager attributes a message to a process that still exists, so wait until it has read the last one
    // (sd_notify_barrier(3)).
    manager
      ?.barrier(BARRIER_TIMEOUT_MS)
      .catch((error: unknown) => log("warning", `the service manager may have missed the last message: ${error}`));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  log("info", `ready: ${where}`, { event: "ready", berths: broker.counts.berths });
  notify(`READY=1\nMAINPID=${process.pid}\n${status.take()}`);
}

try {
  await main(process.argv);
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  else fail("berthd", error);
}
