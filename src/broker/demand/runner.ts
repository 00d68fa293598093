/**
 * How a server is started and stopped: by systemd where that runs and has the unit `berth@NAME.service`, else as a
 * child of the broker, in a session of its own, that outlives it. What becomes of the berth is told by the lease, not
 * here.
 */
import { spawn } from "node:child_process";
import { SysError } from "../../errors.ts";
import { launcherPath } from "../../launcher-path.ts";
import { findManager, type Manager } from "../../systemd/manager.ts";

/** How a start ended, as far as that is known. */
export interface RunResult {
  /** In a few words, to be read after "because" or a colon. */
  readonly reason: string;
  /** Exit status, or the name of the signal that ended it. */
  readonly status?: number;
  readonly signal?: string;
}

/** One start. */
export interface Run {
  /** Finds out whether it has ended, where that is not told by itself, and tells. */
  inquire(): void;
}

export interface Runner {
  /** Starts the server of a berth. `onEnd` is told how it ended, or why it did not begin; once at least. */
  start(berth: string, onEnd: (outcome: RunResult) => void): Run;
  /**
   * Has the unit stopped that this berth's server is; false when it is none of ours. `refused` is told why it is not.
   */
  stop(berth: string, unit: string | undefined, refused: (reason: string) => void): boolean;
}

export interface RunnerOptions {
  /** The broker's control socket, for the launcher. */
  readonly socket: string;
  /** Where the output of servers goes: a descriptor of this process. */
  readonly output: number;
  /** Default: systemd, if this process may use it. */
  readonly manager?: Manager | undefined;
}

/** What speaks of the broker's own process to its service manager, and is not for its children. */
const OWN_VARIABLES = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "MAINPID", "FDSTORE"];

export function createRunner({ socket, output, manager = findManager() }: RunnerOptions): Runner {
  return {
    start: (berth, onEnd) =>
      manager === undefined
        ? startChild(socket, output, berth, onEnd)
        : startUnit(manager, berth, onEnd, () => startChild(socket, output, berth, onEnd)),
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
    // systemctl says that it failed; how, the unit itself knows better.
    if (result.kind === "failed") inquire((end) => onEnd((end?.signal ?? end?.status) ? end : result));
  });
  return {
    inquire: () => {
      // Before that it has not ended, but not begun.
      if (hasBegun) inquire((end) => end !== undefined && onEnd(end));
    },
  };
}

/** Names of berths are made of what names of units may have, so `%i` of the unit is the berth. */
function unitOf(berth: string): string {
  return `berth@${berth}.service`;
}

function startChild(socket: string, output: number, berth: string, onEnd: (outcome: RunResult) => void): Run {
  const environment = { ...process.env };
  for (const name of OWN_VARIABLES) delete environment[name];
  try {
    const child = spawn(launcherPath(), ["--socket", socket, berth], {
      // A session of its own: a signal from the broker's terminal is not for the server.
      detached: true,
      stdio: ["ignore", output, output],
      env: environment,
    });
    child.unref();
    child.on("error", (error) => onEnd({ reason: `berth-launch could not be run: ${error.message}` }));
    child.on("exit", (status, signal) => {
      if (signal !== null) onEnd({ reason: `it was ended by ${signal}`, signal });
      else onEnd({ reason: `it ended with status ${status}`, status: status ?? 0 });
    });
  } catch (error) {
    // Not before our caller has got its Run.
    const message = error instanceof SysError || error instanceof Error ? error.message : String(error);
    setImmediate(() => onEnd({ reason: `berth-launch could not be run: ${message}` }));
  }
  // The exit is told by itself, before or after.
  return { inquire: () => undefined };
}
