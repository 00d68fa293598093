/** Starts, stops and asks about units of the system's service manager, by systemctl(1). Waits for no job. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";

/** Of a start: taken on; there is no such unit; or refused, for a reason. */
export type StartResult =
  | { readonly kind: "begun" }
  | { readonly kind: "absent" }
  | { readonly kind: "failed"; readonly message: string };

/** How a service ended that runs no more. */
export interface ServiceOutcome {
  readonly reason: string;
  readonly status?: number;
  readonly signal?: string;
}

export interface Manager {
  start(unit: string, told: (result: StartResult) => void): void;
  stop(unit: string): void;
  outcome(unit: string, told: (outcome: ServiceOutcome) => void): void;
}

/** systemctl(1), EXIT STATUS: the unit does not exist. */
const NOT_LOADED = 5;
const TIMEOUT = 20_000;
// CLD_EXITED, waitid(2).
const EXITED = "1";

/** The system's manager, where systemd runs (sd_booted(3)) and we are root; else undefined. */
export function findManager(): Manager | undefined {
  return existsSync("/run/systemd/system") && process.geteuid?.() === 0 ? createManager() : undefined;
}

/** `program` is systemctl, or what a test puts in its place. */
export function createManager(program = "systemctl"): Manager {
  const call = (args: readonly string[], told: (status: number, stdout: string, problem: string) => void): void => {
    const options = { timeout: TIMEOUT, env: { ...process.env, LC_ALL: "C", SYSTEMD_COLORS: "0" } };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) return told(0, stdout, "");
      const status = typeof error.code === "number" ? error.code : -1;
      const [line] = stderr.trim().split("\n");
      told(status, stdout, line === undefined || line === "" ? error.message : line);
    });
  };
  return {
    start: (unit, told) =>
      call(["start", "--no-block", "--", unit], (status, _, problem) => {
        if (status === 0) told({ kind: "begun" });
        else told(status === NOT_LOADED ? { kind: "absent" } : { kind: "failed", message: problem });
      }),
    stop: (unit) => call(["stop", "--no-block", "--", unit], () => undefined),
    outcome: (unit, told) =>
      call(["show", "--property=Result,ExecMainCode,ExecMainStatus", "--", unit], (_, stdout) =>
        told(readOutcome(stdout)),
      ),
  };
}

/** What `systemctl show` says of a service that has ended. */
export function readOutcome(text: string): ServiceOutcome {
  const property = (name: string): string => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "";
  const number = Number(property("ExecMainStatus"));
  if (property("ExecMainCode") === EXITED) return { reason: `it ended with status ${number}`, status: number };
  if (number > 0) {
    const signal = Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? String(number);
    return { reason: `it was ended by ${signal}`, signal };
  }
  return { reason: `systemd says: ${property("Result") || "nothing"}` };
}
