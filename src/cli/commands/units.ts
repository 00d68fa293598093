/**
 * `berth units`: prints or installs the unit files of the package. It never starts or enables a unit, and never
 * overwrites a file that another program wrote.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { launcherPath } from "../../launcher-path.ts";
import { makeFolders } from "../../make-folders.ts";
import { packageRoot } from "../../native.ts";
import { printable } from "../../printable.ts";
import { type Programs, renderUnit, UNIT_MARK, type Unit, unitNames } from "../../systemd/units.ts";
import { EXIT_REFUSED } from "../exit.ts";
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
Without --prefix, the files go to /etc/systemd/system and start the programs of this installation. With --prefix, as
in packages, they go to PREFIX/lib/systemd/system and start PREFIX/bin/berthd and PREFIX/bin/berth-launch.
A file that berth did not write is not changed, and its path is printed. Put your own settings into drop-ins
(\`systemctl edit NAME\`): an update does not change those.
Exit status: 0 all files are installed, 1 a file was not changed, 100 usage, 111 system.

Examples:
  berth units install && systemctl daemon-reload && systemctl enable --now berthd.socket
  berth units install --dry-run
  berth units install --root ./debian/berthd --prefix /usr`;

export function addUnits(program: Command): void {
  const units = program.command("units").description("systemd units of the broker, of servers and of containers");
  units
    .command("print")
    .description("print the unit files that install writes")
    .argument("[unit...]", "units to print (default: all)")
    .option("--prefix <directory>", "use the programs in <directory>/bin")
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
    .description("write the unit files to systemd's folder")
    .option("--root <directory>", "write below this folder instead of /")
    .option("--prefix <directory>", "use the programs in <directory>/bin, as packages do")
    .option("--dry-run", "list the files, but write nothing")
    .addHelpText("after", installHelp)
    .action((options: InstallOptions) => install(options));
}

function install({ root = "/", prefix, dryRun }: InstallOptions): void {
  const programs = programsAt(prefix);
  const folder = join(resolve(root), prefix === undefined ? "/etc/systemd/system" : join(prefix, "lib/systemd/system"));
  const units = unitNames().map((name) => renderUnit(name, programs));
  if (!dryRun) makeFolders(folder, 0o777);
  const results = units.map((unit) => [place(folder, unit, dryRun), join(folder, unit.name)] as const);
  for (const [result, path] of results) print(`${result.padEnd(9)} ${path}\n`);
  if (results.some(([result]) => result === "left")) {
    print("left: berth did not write this file; move its settings to a drop-in, remove it, and install again\n");
    process.exitCode = EXIT_REFUSED;
  }
  if (!dryRun && root === "/") {
    print(`next:   systemctl daemon-reload && systemctl enable --now berthd.socket\n`);
    print(`undo:   systemctl disable --now berthd.socket berthd.service, then remove the files above\n`);
  }
}

type FileResult = "wrote" | "unchanged" | "left";

/** Writes one file atomically, unless another program wrote the one that is there. */
function place(folder: string, { name, text }: Unit, dryRun: true | undefined): FileResult {
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

/** The version of systemd on this machine. Without systemd it is 0, and the units use only what every version has. */
function systemdVersion(): number {
  try {
    const version = execFileSync("systemctl", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return Number(/^systemd (\d+)/.exec(version)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
