/** Where the programs of this installation are, for the units that start them. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { launcherPath } from "../launcher-path.ts";
import { packageRoot } from "../native.ts";
import type { Programs } from "../systemd/units.ts";

/** The programs that run now, and not those of a package's prefix. */
export function ownPrograms(systemd: number): Programs {
  const program = (path: string): string[] => [process.execPath, join(packageRoot, path)];
  const programs = { berthd: program("dist/cli/berthd.js"), berth: program("dist/berth/berth.cjs") };
  return { ...programs, launcher: launcherPath(), systemd };
}

/** The version of systemd on this machine. Without systemd it is 0, and the units use only what every version has. */
export function systemdVersion(): number {
  try {
    const version = execFileSync("systemctl", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return Number(/^systemd (\d+)/.exec(version)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
