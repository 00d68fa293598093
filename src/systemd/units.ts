/**
 * Renders the unit files of the package with the paths of an installation, for the system's manager or for that of a
 * user. It writes no file.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../native.ts";

/** Which manager reads the files: the system's, or each user's own (`systemd --user`). */
export type UnitManager = "system" | "user";

/** The programs that the unit files start. Every path is absolute. */
export interface Programs {
  /** The broker: the program and the arguments before its options, as `["/usr/bin/node", "/…/berthd.js"]`. */
  readonly berthd: readonly string[];
  /** `berth`, as `berthd`. */
  readonly berth: readonly string[];
  /** berth-launch. */
  readonly launcher: string;
  /** Version of the systemd that reads the files; 0 if unknown. */
  readonly systemd: number;
}

export interface Unit {
  readonly name: string;
  readonly text: string;
}

/** The beginning of every file that we write. A file without it is neither overwritten nor removed. */
export const UNIT_MARK = "# Installed by `berth units install`; to change it: systemctl edit";

const folder = join(packageRoot, "units");

/** What the two managers have in different places (systemd.unit(5), SPECIFIERS). */
const PLACES: Readonly<Record<UnitManager, Readonly<Record<string, string>>>> = {
  system: { run: "/run", state: "/var/lib/berthd", target: "multi-user.target" },
  // Not %S: before systemd 254 that is the folder of configuration.
  user: { run: "%t", state: "%h/.local/state/berthd", target: "default.target" },
};

/** The names of all unit files, sorted. A user's manager has neither containers nor berthd-state: those need root. */
export function unitNames(manager: UnitManager = "system"): string[] {
  return readdirSync(folder)
    .filter((name) => manager === "system" || !/^(container|berthd-state)/.test(name))
    .sort();
}

/** One unit file, ready to be read by systemd. */
export function renderUnit(name: string, programs: Programs, manager: UnitManager = "system"): Unit {
  // From 254 on, the delay between two restarts can grow (systemd.service(5)). Earlier versions complain of the keys.
  const delay = programs.systemd >= 254 ? "RestartSteps=8\nRestartMaxDelaySec=30s\n" : "";
  const values: Readonly<Record<string, string>> = {
    ...PLACES[manager],
    berthd: programs.berthd.map(execWord).join(" "),
    berth: programs.berth.map(execWord).join(" "),
    "berth-launch": execWord(programs.launcher),
  };
  const text = readFileSync(join(folder, name), "utf8");
  // Lines between `# {system` and `# }` need privilege that a user's manager does not have.
  const block = /^# \{system\n([\s\S]*?)^# \}\n/gm;
  const filled = text
    .replace(block, manager === "system" ? "$1" : "")
    .replace("@delay@\n", delay)
    .replace(/@([a-z-]+)@/g, (whole, key: string) => values[key] ?? whole);
  const edit = manager === "system" ? "" : "--user ";
  return { name, text: `${UNIT_MARK} ${edit}${name}\n\n${filled}` };
}

/** Quotes a word of ExecStart=, so that systemd passes it unchanged (systemd.service(5), COMMAND LINES). */
export function execWord(text: string): string {
  const escaped = text.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, "\\$&")}"`;
}
