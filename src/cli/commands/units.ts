/**
 * `berth units`: prints, installs or removes the unit files of the package. It never starts or enables a unit, and
 * never touches a file that another program wrote.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { BerthError } from "../../errors.ts";
import { makeFolders } from "../../make-folders.ts";
import { printable } from "../../printable.ts";
import { type Programs, renderUnit, UNIT_MARK, type Unit, type UnitManager, unitNames } from "../../systemd/units.ts";
import { ownPrograms, systemdVersion } from "../installation.ts";
import { EXIT_REFUSED } from "../print/exit.ts";
import { print } from "../print/stdout.ts";

interface ManagerOptions {
  readonly user?: true;
}

interface PrintOptions extends ManagerOptions {
  readonly prefix?: string;
  readonly systemd?: number;
}

interface PlaceOptions extends ManagerOptions {
  readonly root?: string;
  readonly prefix?: string;
  readonly dryRun?: true;
}

type InstallOptions = PlaceOptions & PrintOptions;

const printHelp = `
Examples:
  berth units print
  berth units print berthd.service berth@.service
  berth units print --user`;

const installHelp = `
Without --prefix, the files go to /etc/systemd/system and start the programs of this installation. With --prefix, as
in packages, they go to PREFIX/lib/systemd/system and start PREFIX/bin/berthd and PREFIX/bin/berth-launch.
With --user, they are for \`systemctl --user\`: they go to ~/.config/systemd/user, or PREFIX/lib/systemd/user. There are
no containers then.
The files suit the systemd of this machine; --systemd names the version of another one.
A file that berth did not write is not changed, and its path is printed. Put your own settings into drop-ins
(\`systemctl edit NAME\`): an update does not change those.
Exit status: 0 all files are installed, 1 a file was not changed, 100 usage, 111 system.

Examples:
  berth units install && systemctl daemon-reload && systemctl enable --now berthd.socket
  berth units install --user && systemctl --user daemon-reload && systemctl --user enable --now berthd.socket
  berth units install --dry-run
  berth units install --root ./debian/berthd --prefix /usr --systemd 257`;

const removeHelp = `
Removes the files that install wrote, of earlier versions too, with the same --root, --prefix and --user. Drop-ins stay.
Exit status: 0 done, 1 a file of that name is not berth's and was left, 100 usage, 111 system.

Examples:
  systemctl disable --now berthd.socket berthd.service berths.target && berth units remove
  berth units remove --user --dry-run`;

export function addUnits(program: Command): void {
  const units = program.command("units").description("systemd units of the broker, of servers and of containers");
  units
    .command("print")
    .description("print the unit files that install writes")
    .argument("[unit...]", "units to print (default: all)")
    .option("--prefix <directory>", "use the programs in <directory>/bin")
    .addOption(systemdOption())
    .addOption(userOption())
    .addHelpText("after", printHelp)
    .action((names: string[], options: PrintOptions) => {
      const programs = programsAt(options);
      const manager = managerOf(options);
      const known = unitNames(manager);
      const unknown = names.find((name) => !known.includes(name));
      if (unknown !== undefined) {
        throw new BerthError("USAGE", `there is no unit "${printable(unknown)}"; there are ${known.join(", ")}`);
      }
      const wanted = (names.length > 0 ? names : known).map((name) => renderUnit(name, programs, manager));
      print(wanted.map(({ text }) => text).join("\n"));
    });
  units
    .command("install")
    .description("write the unit files to systemd's folder")
    .option("--root <directory>", "write below this folder instead of /")
    .option("--prefix <directory>", "use the programs in <directory>/bin, as packages do")
    .addOption(systemdOption())
    .addOption(userOption())
    .option("--dry-run", "list the files, but write nothing")
    .addHelpText("after", installHelp)
    .action((options: InstallOptions) => install(options));
  units
    .command("remove")
    .description("remove the unit files that install wrote")
    .option("--root <directory>", "remove below this folder instead of /")
    .option("--prefix <directory>", "remove those of a package")
    .addOption(userOption())
    .option("--dry-run", "list the files, but remove nothing")
    .addHelpText("after", removeHelp)
    .action((options: PlaceOptions) => remove(options));
}

function systemdOption(): Option {
  return new Option("--systemd <version>", "for this version of systemd (default: this machine's)").argParser(
    (text) => {
      if (!/^[1-9]\d{0,4}$/.test(text))
        throw new BerthError("USAGE", `--systemd ${printable(text)} is not a version; write for example 257`);
      return Number(text);
    },
  );
}

function userOption(): Option {
  return new Option("--user", "units of the user's own service manager");
}

function managerOf({ user }: ManagerOptions): UnitManager {
  return user ? "user" : "system";
}

/** `systemctl`, as the manager's owner calls it. */
function systemctl({ user }: ManagerOptions): string {
  return user ? "systemctl --user" : "systemctl";
}

/** Where the manager reads units: the operator's, or with a prefix a package's (systemd.unit(5)). */
function folderOf(options: PlaceOptions): string {
  const { root = "/", prefix, user } = options;
  if (prefix !== undefined) return join(resolve(root), prefix, "lib/systemd", managerOf(options));
  if (!user) return join(resolve(root), "/etc/systemd/system");
  const configured = process.env["XDG_CONFIG_HOME"];
  const home = configured?.startsWith("/") ? configured : join(process.env["HOME"] || homedir(), ".config");
  return join(resolve(root), home, "systemd/user");
}

function install(options: InstallOptions): void {
  const { root = "/", dryRun } = options;
  const programs = programsAt(options);
  const folder = folderOf(options);
  const manager = managerOf(options);
  const units = unitNames(manager).map((name) => renderUnit(name, programs, manager));
  if (!dryRun) makeFolders(folder, 0o777);
  const results = units.map((unit) => [place(folder, unit, dryRun), join(folder, unit.name)] as const);
  for (const [result, path] of results) print(`${result.padEnd(9)} ${path}\n`);
  if (results.some(([result]) => result === "left")) {
    print("left: berth did not write this file; move its settings to a drop-in, remove it, and install again\n");
    process.exitCode = EXIT_REFUSED;
  }
  if (!dryRun && root === "/") {
    const ctl = systemctl(options);
    const user = options.user ? " --user" : "";
    print(`next:   ${ctl} daemon-reload && ${ctl} enable --now berthd.socket\n`);
    print(`undo:   ${ctl} disable --now berthd.socket berthd.service && berth units remove${user}\n`);
  }
}

/** Removes every file with our mark, and names a file of one of our units that has none. */
function remove(options: PlaceOptions): void {
  const { root = "/", prefix, dryRun } = options;
  mustBeAbsolute(prefix);
  const folder = folderOf(options);
  const names = existsSync(folder)
    ? readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile())
    : [];
  const known = unitNames();
  const removed: string[] = [];
  for (const { name } of names) {
    const path = join(folder, name);
    if (readFileSync(path, "utf8").startsWith(UNIT_MARK)) {
      if (!dryRun) rmSync(path);
      removed.push(path);
    } else if (known.includes(name)) {
      print(`left      ${path}\n`);
      process.exitCode = EXIT_REFUSED;
    }
  }
  for (const path of removed.sort()) print(`removed   ${path}\n`);
  if (removed.length === 0) print(`no unit of berth is in ${folder}\n`);
  else if (!dryRun && root === "/") print(`next:   ${systemctl(options)} daemon-reload\n`);
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

function programsAt({ prefix, systemd = systemdVersion() }: PrintOptions): Programs {
  if (prefix === undefined) return ownPrograms(systemd);
  mustBeAbsolute(prefix);
  return {
    berthd: [join(prefix, "bin/berthd")],
    berth: [join(prefix, "bin/berth")],
    launcher: join(prefix, "bin/berth-launch"),
    systemd,
  };
}

function mustBeAbsolute(prefix: string | undefined): void {
  if (prefix !== undefined && !isAbsolute(prefix))
    throw new BerthError("USAGE", `--prefix ${printable(prefix)} is not an absolute path; write for example /usr`);
}
