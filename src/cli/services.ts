/**
 * The units `berth@NAME.service`, as an operator's commands call them: with systemctl(1), of the system or of the user
 * who asks. It says what to do where systemd does not run.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "../errors.ts";
import { printable } from "../printable.ts";
import { propertyOf, readEnd, readState, type ServiceEnd } from "../systemd/manager.ts";
import { type Called, type SystemctlOptions, systemctl } from "../systemd/systemctl.ts";

/** The unit of a berth's server. Every berth name is a valid instance name. */
export function unitOf(berth: string): string {
  return `berth@${berth}.service`;
}

export interface Services {
  /** Whether they are those of the user's own manager. */
  readonly isUser: boolean;
  /** Runs a verb of systemctl. Throws SYSTEM_ERROR with its sentence. */
  run(verb: string, units: readonly string[]): Promise<void>;
  /** The unit's main process; 0 without one. */
  mainOf(unit: string): Promise<number>;
  /** How the unit's last process ended; undefined while it starts or runs. */
  endOf(unit: string): Promise<ServiceEnd | undefined>;
}

export interface Place {
  /** sd_booted(3) */
  readonly isBooted: boolean;
  /** Whether this process's user has a manager. */
  readonly hasOwn: boolean;
}

function here(): Place {
  const folder = process.env["XDG_RUNTIME_DIR"];
  const hasOwn = process.geteuid?.() !== 0 && folder !== undefined && existsSync(join(folder, "systemd/private"));
  return { isBooted: existsSync("/run/systemd/system"), hasOwn };
}

/** Throws SYSTEM_ERROR if systemd does not run here, or has no unit for the berth. */
export async function servicesFor(
  berth: string,
  { isBooted, hasOwn }: Place = here(),
  options: SystemctlOptions = {},
): Promise<Services> {
  const name = printable(berth);
  if (!isBooted) {
    const message = `systemd does not run here, so nothing keeps the server of berth ${name} running; to run it in this terminal: berth run ${name}`;
    throw new BerthError("SYSTEM_ERROR", message);
  }
  for (const isUser of hasOwn ? [true, false] : [false]) {
    const chosen = { ...options, before: isUser ? ["--user"] : [] };
    const { stdout } = await call(["show", "--property=LoadState", "--", unitOf(berth)], chosen);
    if (propertyOf(stdout, "LoadState") === "loaded") return services(isUser, chosen);
  }
  const message = `systemd has no unit ${unitOf(name)}; to write it: berth units install && systemctl daemon-reload`;
  throw new BerthError("SYSTEM_ERROR", message);
}

function services(isUser: boolean, options: SystemctlOptions): Services {
  const ctl = ["systemctl", ...(options.before ?? [])].join(" ");
  return {
    isUser,
    run: async (verb, units) => {
      const { status, problem } = await call([verb, "--no-ask-password", "--quiet", "--", ...units], options);
      if (status === 0) return;
      const isDenied = /authentication|access denied|permission denied/i.test(problem);
      const remedy = isDenied ? "; do it as root" : "";
      const message = `${ctl} ${verb} ${units.join(" ")} failed: ${problem.replace(/\.$/, "")}${remedy}`;
      throw new BerthError("SYSTEM_ERROR", message);
    },
    mainOf: async (unit) => readState((await call(["show", "--property=MainPID", "--", unit], options)).stdout).pid,
    endOf: async (unit) => {
      const names = "--property=ActiveState,SubState,Result,ExecMainCode,ExecMainStatus";
      return readEnd((await call(["show", names, "--", unit], options)).stdout);
    },
  };
}

function call(args: readonly string[], options: SystemctlOptions): Promise<Called> {
  return new Promise((told) => systemctl(args, options, told));
}
