/** Starts, stops and queries units of the system's service manager with systemctl(1). */
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { NO_SUCH_UNIT, type SystemctlOptions, systemctl, TIMED_OUT } from "./systemctl.ts";

/** The result of a start: the unit runs, does not exist, or failed with a reason. */
export type StartResult =
  | { readonly kind: "started" }
  | { readonly kind: "absent" }
  | { readonly kind: "failed"; readonly reason: string };

/** The result of a stop that was waited for. late: systemd goes on with it. */
export type StopResult = { readonly kind: "stopped" | "late" } | { readonly kind: "refused"; readonly reason: string };

/** A service as it is now. */
export interface ServiceState {
  /** Whether it starts, runs, stops, or waits to be started again. */
  readonly isActive: boolean;
  /** Its main process; 0 without one. */
  readonly pid: number;
}

/** How a service ended. */
export interface ServiceEnd {
  readonly reason: string;
  readonly status?: number;
  readonly signal?: string;
}

export interface Manager {
  /** Starts a unit. Calls `told` when the start is complete, as the unit's Type= defines it. */
  start(unit: string, told: (result: StartResult) => void): void;
  /** Requests the stop of a unit and does not wait. Calls `refused` only if systemd refuses the request. */
  stop(unit: string, refused: (reason: string) => void): void;
  /** Stops a unit. Calls `told` when all its processes have ended, or after a time. */
  end(unit: string, told: (result: StopResult) => void): void;
  /** Tells what a service is doing. One that does not exist is not active. */
  state(unit: string, told: (state: ServiceState) => void): void;
  /** Tells how a service ended; undefined while it starts, runs or stops. */
  ended(unit: string, told: (end: ServiceEnd | undefined) => void): void;
}

// CLD_EXITED, waitid(2).
const EXITED = "1";
/** What berth-launch says of itself before it fails. A server that runs has another status, or none. */
const LAUNCHER_STATUS = /^berth-launch: (.+)$/;

/** The system's manager, where systemd runs (sd_booted(3)) and we are root; else undefined. */
export function findManager(): Manager | undefined {
  return existsSync("/run/systemd/system") && process.geteuid?.() === 0 ? createManager() : undefined;
}

/** The manager of this process's own user, if there is one; undefined for root. */
export function findUserManager(): Manager | undefined {
  const folder = process.env["XDG_RUNTIME_DIR"];
  if (process.geteuid?.() === 0 || folder === undefined || !existsSync(join(folder, "systemd/private")))
    return undefined;
  return createManager("systemctl", { before: ["--user"] });
}

/** `program` is systemctl, or the replacement that a test gives. */
export function createManager(program = "systemctl", options: Omit<SystemctlOptions, "program"> = {}): Manager {
  const call = (args: readonly string[], told: (status: number, stdout: string, problem: string) => void): void =>
    systemctl(args, { program, ...options }, ({ status, stdout, problem }) => told(status, stdout, problem));
  return {
    start: (unit, told) =>
      call(["start", "--no-ask-password", "--", unit], (status, _, reason) => {
        if (status === 0) told({ kind: "started" });
        else told(status === NO_SUCH_UNIT ? { kind: "absent" } : { kind: "failed", reason });
      }),
    stop: (unit, refused) =>
      call(["stop", "--no-ask-password", "--no-block", "--", unit], (status, _, reason) => {
        if (status !== 0) refused(reason);
      }),
    end: (unit, told) =>
      call(["stop", "--no-ask-password", "--", unit], (status, _, reason) => {
        if (status === 0) told({ kind: "stopped" });
        else told(status === TIMED_OUT ? { kind: "late" } : { kind: "refused", reason });
      }),
    state: (unit, told) =>
      call(["show", "--property=ActiveState,MainPID", "--", unit], (_, stdout) => told(readState(stdout))),
    ended: (unit, told) =>
      call(
        ["show", "--property=ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,StatusText", "--", unit],
        (_, stdout) => told(readEnd(stdout)),
      ),
  };
}

/** Reads the output of `systemctl show` for a service. */
export function readState(text: string): ServiceState {
  const active = propertyOf(text, "ActiveState");
  return { isActive: !["", "inactive", "failed"].includes(active), pid: Number(propertyOf(text, "MainPID")) };
}

/** One property in the output of `systemctl show`. */
export function propertyOf(text: string, name: string): string {
  return new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "";
}

/** Reads the output of `systemctl show` for a service. */
export function readEnd(text: string): ServiceEnd | undefined {
  const property = (name: string): string => propertyOf(text, name);
  const isDown = ["inactive", "failed"].includes(property("ActiveState")) || property("SubState") === "auto-restart";
  if (!isDown) return undefined;
  const number = Number(property("ExecMainStatus"));
  if (property("ExecMainCode") === EXITED) {
    const [, sentence] = LAUNCHER_STATUS.exec(property("StatusText")) ?? [];
    return { reason: sentence ?? `it ended with status ${number}`, status: number };
  }
  if (number > 0) {
    const signal = Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? String(number);
    return { reason: `it was ended by ${signal}`, signal };
  }
  return { reason: `systemd says: ${property("Result")}` };
}
