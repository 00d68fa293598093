/** Renders the unit files of the package with the paths of an installation. It writes no file. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../native.ts";

/** The programs that the unit files start. Every path is absolute. */
export interface Programs {
  /** The broker: the program and the arguments before its options, as `["/usr/bin/node", "/…/berthd.js"]`. */
  readonly berthd: readonly string[];
  /** berth-launch. */
  readonly launcher: string;
  /** Version of the systemd that reads the files; 0 if unknown. */
  readonly systemd: number;
}

export interface Unit {
  readonly name: string;
  readonly text: string;
}

/** The first line of every file that we write. A file without it is not overwritten. */
export const UNIT_MARK = "# Installed by `berth units install`; to change it: systemctl edit";

const folder = join(packageRoot, "units");

/** The names of all unit files, sorted. */
export function unitNames(): string[] {
  return readdirSync(folder).sort();
}

/** One unit file, ready to be read by systemd. */
export function renderUnit(name: string, programs: Programs): Unit {
  // From 253 on, `systemctl reload` waits until the broker reports that it has reloaded (systemd.service(5)).
  const tells = programs.systemd >= 253;
  const values: Readonly<Record<string, string>> = {
    berthd: programs.berthd.map(execWord).join(" "),
    "berth-launch": execWord(programs.launcher),
    notify: tells ? "notify-reload" : "notify",
    reload: tells ? "ReloadSignal=SIGHUP" : "ExecReload=kill -HUP $MAINPID",
  };
  const text = readFileSync(join(folder, name), "utf8");
  const filled = text.replace(/@([a-z-]+)@/g, (whole, key: string) => values[key] ?? whole);
  return { name, text: `${UNIT_MARK} ${name}\n\n${filled}` };
}

/** Quotes a word of ExecStart=, so that systemd passes it unchanged (systemd.service(5), COMMAND LINES). */
export function execWord(text: string): string {
  const escaped = text.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replace(/["\\]/g, "\\$&")}"`;
}
