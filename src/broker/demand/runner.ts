/**
 * Starts and stops servers. Under systemd it uses the unit `berth@NAME.service` if there is one. Otherwise the server
 * is a child of the broker in its own session, and outlives the broker. Whether the berth is taken shows in the lease,
 * not here.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";
import { dirname, join } from "node:path";
import { SysError } from "../../errors.ts";
import { launcherPath } from "../../launcher-path.ts";
import { makeFolders } from "../../make-folders.ts";
import {
  findManager,
  findUserManager,
  type Manager,
  type ServiceState,
  type StopResult,
} from "../../systemd/manager.ts";
import { userUnitOfCgroup } from "../access/peer.ts";
import { contentsOf } from "../access/small-file.ts";
import type { Tenant } from "../berths/berth/lease.ts";

/** How a start ended, as far as it is known. */
export interface RunResult {
  /** A short clause, to follow "because" or a colon. */
  readonly reason: string;
  /** Exit status, or the name of the signal that ended it. */
  readonly status?: number;
  readonly signal?: string;
}

/** One start. */
export interface Run {
  /** Checks whether it has ended, if nothing else reports that, and reports it. */
  inquire(): void;
}

export interface Runner {
  /** Starts the server of a berth. `onEnd` is called at least once, with how it ended or why it did not begin. */
  start(berth: string, onEnd: (outcome: RunResult) => void): Run;
  /**
   * Stops the unit of this berth's server. False if the unit is not one of ours. `refused` is called with the reason if
   * systemd refuses.
   */
  stop(berth: string, unit: string | undefined, refused: (reason: string) => void): boolean;
  /**
   * Stops the unit that the server of this tenant runs as, and waits until its processes have ended: then systemd does
   * not start it again. Without a tenant it is the berth's own unit, if that is active.
   */
  end(berth: string, tenant: Pick<Tenant, "pid" | "unit"> | undefined): Promise<UnitStop>;
}

/** What was done with a unit. none: no unit has this server. */
export type UnitStop =
  | { readonly kind: "none" }
  | { readonly kind: "stopped"; readonly unit: string }
  | { readonly kind: "late"; readonly unit: string }
  | { readonly kind: "refused"; readonly reason: string; readonly unit: string };

export interface RunnerOptions {
  /** The broker's control socket, for the launcher. */
  readonly socket: string;
  /** A descriptor of this process, for the output of servers that have no log of their own. */
  readonly output: number;
  /** Folder of the logs of servers: NAME.log. */
  readonly logs?: string | undefined;
  /** Default: systemd, if this process may use it. */
  readonly manager?: Manager | undefined;
  /** Which has the unit of a server that is to be stopped. Default: as `manager`, or the one of this process's user. */
  readonly stopping?: Manager | undefined;
}

/** The most of a launcher's sentence that is kept. */
const REPORT_MAX = 1000;

/** Variables about the broker's own process. Its children must not get them. */
const OWN_VARIABLES = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "MAINPID", "FDSTORE"];

export function createRunner({
  socket,
  output,
  logs,
  manager = findManager(),
  stopping = manager ?? findUserManager(),
}: RunnerOptions): Runner {
  return {
    end: async (berth, tenant) => (stopping === undefined ? { kind: "none" } : await endUnit(stopping, berth, tenant)),
    start: (berth, onEnd) =>
      manager === undefined
        ? startChild({ socket, output, logs }, berth, onEnd)
        : startUnit(manager, berth, onEnd, () => startChild({ socket, output, logs }, berth, onEnd)),
    stop: (berth, unit, refused) => {
      if (manager === undefined || unit !== unitOf(berth)) return false;
      manager.stop(unit, refused);
      return true;
    },
  };
}

function startUnit(manager: Manager, berth: string, onEnd: (outcome: RunResult) => void, otherwise: () => void): Run {
  const unit = unitOf(berth);
  let hasBegun = false;
  const inquire = (told: (outcome: RunResult | undefined) => void): void => manager.ended(unit, told);
  manager.start(unit, (result) => {
    if (result.kind === "absent") return otherwise();
    hasBegun = true;
    // systemctl only says that it failed; the unit has the exit status.
    if (result.kind === "failed") inquire((end) => onEnd((end?.signal ?? end?.status) ? end : result));
  });
  return {
    inquire: () => {
      // Before that, the unit has not begun yet.
      if (hasBegun) inquire((end) => end !== undefined && onEnd(end));
    },
  };
}

async function endUnit(
  manager: Manager,
  berth: string,
  tenant: Pick<Tenant, "pid" | "unit"> | undefined,
): Promise<UnitStop> {
  const own = unitOf(berth);
  const unit =
    tenant === undefined
      ? own
      : process.geteuid?.() === 0
        ? tenant.unit
        : userUnitOfCgroup(contentsOf(`/proc/${tenant.pid}/cgroup`));
  if (unit?.endsWith(".service") !== true) return { kind: "none" };
  const { isActive, pid } = await new Promise<ServiceState>((told) => manager.state(unit, told));
  // Another unit may have more than this server in it: a shell's, or that of a whole session.
  const isMeant = tenant === undefined || unit === own || unit === `container@${berth}.service` || pid === tenant.pid;
  if (!isActive || !isMeant) return { kind: "none" };
  const result = await new Promise<StopResult>((told) => manager.end(unit, told));
  return { ...result, unit };
}

/** Every berth name is a valid instance name of a unit, so `%i` is the berth. */
function unitOf(berth: string): string {
  return `berth@${berth}.service`;
}

function startChild({ socket, output, logs }: RunnerOptions, berth: string, onEnd: (outcome: RunResult) => void): Run {
  const environment = { ...process.env };
  for (const name of OWN_VARIABLES) delete environment[name];
  const log = logs === undefined ? [] : ["--log", join(logs, `${berth}.log`)];
  try {
    if (logs !== undefined) makeLogFolder(logs);
    const child = spawn(launcherPath(), ["--socket", socket, "--report", "3", ...log, berth], {
      // Its own session: signals of the broker's terminal must not reach the server.
      detached: true,
      stdio: ["ignore", output, output, "pipe"],
      env: environment,
    });
    child.unref();
    const report = reportOf(child);
    child.on("error", (error) => onEnd({ reason: `cannot run berth-launch: ${error.message}` }));
    // Not "exit": the report may come after it. Its other end closes when the launcher ends or becomes the server.
    child.on("close", (status, signal) => {
      if (signal !== null) onEnd({ reason: `it was ended by ${signal}`, signal });
      else onEnd({ reason: report() ?? `it ended with status ${status}`, status: status ?? 0 });
    });
  } catch (error) {
    // Later, because the caller must get its Run first.
    const message = error instanceof SysError || error instanceof Error ? error.message : String(error);
    setImmediate(() => onEnd({ reason: `cannot run berth-launch: ${message}` }));
  }
  // The exit event is reported on its own.
  return { inquire: () => undefined };
}

/** Where it cannot be made, the launcher says so, and writes to `output`. */
function makeLogFolder(path: string): void {
  try {
    makeFolders(dirname(path), 0o700);
    makeFolders(path, 0o750);
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

/** The launcher's own sentence about a failure, as far as it has come. Undefined if it has become the server. */
function reportOf(child: ChildProcess): () => string | undefined {
  const stream = child.stdio[3];
  let sentence = "";
  if (stream instanceof Socket) {
    stream.setEncoding("utf8");
    stream.unref();
    stream.on("data", (piece: string) => {
      sentence = (sentence + piece).slice(0, REPORT_MAX);
    });
    stream.on("error", () => stream.destroy());
  }
  return () => (sentence === "" ? undefined : sentence);
}
