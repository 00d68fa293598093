/**
 * `berth units`: the unit files of the package, printed or put where systemd finds them. It starts and enables nothing,
 * and overwrites no file that it has not written itself.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { launcherPath } from "../../launcher-path.ts";
import { packageRoot } from "../../native.ts";
import { type Programs, renderUnit, UNIT_MARK, type Unit, unitNames } from "../../systemd/units.ts";
import { EXIT_REFUSED } from "../exit.ts";
import { printable } from "../printable.ts";
import { print } from "../stdout.ts";

interface PlaceOptions {
  readonly prefix?: string;
}

interface InstallOptions extends PlaceOptions {
  readonly root?: string;
  readonly dryRun?: true;
}

const printHelp = `
Examples:
  berth units print
  berth units print berthd.service berth@.service`;

const installHelp = `
Without --prefix they go to /etc/systemd/system and start the programs of this very installation. With --prefix, as
packages do it, they go to PREFIX/lib/systemd/system and start PREFIX/bin/berthd and PREFIX/bin/berth-launch.
A file that somebody else has written is left alone and named. Settings of one's own belong into drop-ins
(\`systemctl edit NAME\`), which an update leaves alone as well.
Exit status: 0 all are there, 1 one was left alone, 100 usage, 111 system.

Examples:
  berth units install && systemctl daemon-reload && systemctl enable --now berthd.socket
  berth units install --dry-run
  berth units install --root ./debian/berthd --prefix /usr`;

export function addUnits(program: Command): void {
  const units = program.command("units").description("systemd units of the broker, of servers and of containers");
  units
    .command("print")
    .description("print unit files, as install would write them")
    .argument("[unit...]", "which (default: all)")
    .option("--prefix <directory>", "programs are in its bin")
    .addHelpText("after", printHelp)
    .action((names: string[], { prefix }: PlaceOptions) => {
      const programs = programsAt(prefix);
      const known = unitNames();
      const unknown = names.find((name) => !known.includes(name));
      if (unknown !== undefined) {
        throw new BerthError("USAGE", `there is no unit "${printable(unknown)}"; there are ${known.join(", ")}`);
      }
      const wanted = (names.length > 0 ? names : known).map((name) => renderUnit(name, programs));
      print(wanted.map(({ text }) => text).join("\n"));
    });
  units
    .command("install")
    .description("put the unit files where systemd finds them")
    .option("--root <directory>", "write below this folder instead of /")
    .option("--prefix <directory>", "for programs that are in its bin: as packages do")
    .option("--dry-run", "say what would be written, and write nothing")
    .addHelpText("after", installHelp)
    .action((options: InstallOptions) => install(options));
}

function install({ root = "/", prefix, dryRun }: InstallOptions): void {
  const programs = programsAt(prefix);
  const folder = join(resolve(root), prefix === undefined ? "/etc/systemd/system" : join(prefix, "lib/systemd/system"));
  const units = unitNames().map((name) => renderUnit(name, programs));
  if (!dryRun) mkdirSync(folder, { recursive: true });
  const outcomes = units.map((unit) => [place(folder, unit, dryRun), join(folder, unit.name)] as const);
  for (const [outcome, path] of outcomes) print(`${outcome.padEnd(9)} ${path}\n`);
  if (outcomes.some(([outcome]) => outcome === "left")) {
    print("left alone: somebody else has written it; move it away, and its settings to a drop-in\n");
    process.exitCode = EXIT_REFUSED;
  }
  if (!dryRun && root === "/") {
    print(`next:   systemctl daemon-reload && systemctl enable --now berthd.socket\n`);
    print(`undo:   systemctl disable --now berthd.socket berthd.service, then remove the files above\n`);
  }
}

type Outcome = "wrote" | "unchanged" | "left";

/** Writes one file, whole or not at all. */
function place(folder: string, { name, text }: Unit, dryRun: true | undefined): Outcome {
  const path = join(folder, name);
  const present = existsSync(path) ? readFileSync(path, "utf8") : undefined;
  if (present === text) return "unchanged";
  if (present !== undefined && !present.startsWith(UNIT_MARK)) return "left";
  if (!dryRun) {
    writeFileSync(`${path}.new`, text, { mode: 0o644 });
    renameSync(`${path}.new`, path);
  }
  return "wrote";
}

function programsAt(prefix: string | undefined): Programs {
  const systemd = systemdVersion();
  if (prefix === undefined) {
    const berthd = [process.execPath, join(packageRoot, "dist/cli/berthd.js")];
    return { berthd, launcher: launcherPath(), systemd };
  }
  if (!isAbsolute(prefix)) {
    throw new BerthError("USAGE", `--prefix ${printable(prefix)} is not an absolute path; write for example /usr`);
  }
  return { berthd: [join(prefix, "bin/berthd")], launcher: join(prefix, "bin/berth-launch"), systemd };
}

/** Of the systemd of this machine; 0, for what every one understands, where there is none. */
function systemdVersion(): number {
  try {
    const said = execFileSync("systemctl", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return Number(/^systemd (\d+)/.exec(said)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
