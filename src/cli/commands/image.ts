/** `berth image`: the trees that roots are made of. It works on the state folder, also while no broker runs. */
import { join } from "node:path";
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { printable, printableJson } from "../../printable.ts";
import { IMAGE_RULE, parseReference } from "../../rootfs/images/image-name.ts";
import { type ImageRecord, Images } from "../../rootfs/images/images.ts";
import { importImage } from "../../rootfs/images/import.ts";
import { berthsOf, berthsOn } from "../berths/image-holders.ts";
import { berthsNaming } from "../configured.ts";
import { interruptible } from "../interruptible.ts";
import {
  type BrokerChoice,
  type ConfigChoice,
  collect,
  configOption,
  forceOption,
  jsonOption,
  type StateChoice,
  stateOption,
  timeoutOption,
} from "../options.ts";
import { importProgress } from "../print/import-progress.ts";
import { sizeOf } from "../print/size.ts";
import { hasColours, print } from "../print/stdout.ts";
import { type Cell, renderTable } from "../print/table.ts";
import { stateFolder } from "../state-folder.ts";

interface ImportChoice extends StateChoice {
  readonly version?: string;
  readonly store?: readonly string[];
  readonly casync?: readonly string[];
  readonly digest?: string;
  readonly dropDevices?: true;
  readonly json?: true;
}

interface ListChoice extends StateChoice {
  readonly json?: true;
  readonly names?: true;
}

interface RemoveChoice extends StateChoice, ConfigChoice {
  readonly force?: true;
}

const importHelp = `
The source is a folder or a casync index. A folder is copied. An index is a path, a URL (http, https, ftp, sftp) or
HOST:PATH (ssh); casync fetches and checks its chunks. The import compares the result with the source. Then it makes
the new version the current one. An interrupted import leaves no version. Chunks of the current version are
reused, and those that an interrupted import has fetched.
A tree with device nodes is refused, because tenants could open them. These nodes are allowed: null, zero, full,
random, urandom, tty, ptmx. With --drop-devices, the other nodes are not imported.
Importing devices, capabilities or files of other owners needs root.

Examples:
  berth image import arena /srv/trees/arena
  berth image import debian /srv/trees/bookworm --drop-devices
  berth image import arena https://images.example/arena.caidx --version 2.1
  berth image import arena ./arena.caidx --store /srv/chunks --digest $(cat arena.digest)`;

const listHelp = `
Examples:
  berth image ls
  berth image ls --json | jq -r '.[] | select(.current) | .name + " " + .digest'`;

const removeHelp = `
Without a version, all versions of the image are removed. The command is refused while a broker holds the image for a
running server. Without --force, it is also refused while a berth's configuration names the image.

Examples:
  berth image rm arena@20260101-120000
  berth image rm arena --force`;

const useHelp = `
Running servers keep the version they have. From the next lease on, berths with this image get the given version.
Files that a berth has written stay.

Examples:
  berth image use arena@20260101-120000`;

export function addImage(program: Command): void {
  const image = program.command("image").description("trees that the roots of berths are made of");
  addImport(image);
  addList(image);
  addRemove(image);
  addUse(image);
}

function addImport(image: Command): void {
  image
    .command("import")
    .description("import a version of an image, and make it the current one")
    .argument("<name>", "the image")
    .argument("<path>", "a folder, a casync index (.caidx), or the address of one")
    .option("--version <name>", "name of the new version (default: the time)")
    .option("--store <path>", "where casync finds chunks; repeat for more (default: default.castr beside)", collect)
    .option("--digest <digest>", "the expected digest, as casync make prints it")
    .option("--drop-devices", "do not import device nodes that tenants could misuse")
    .option("--casync <option>", "an option for casync; repeat for more", collect)
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("the version"))
    .addHelpText("after", importHelp)
    .action(async (name: string, source: string, choice: ImportChoice, command: Command) => {
      const { json, version, store, digest, dropDevices, casync } = choice;
      const progress = importProgress();
      const request = {
        name,
        source,
        ...(version !== undefined && { version }),
        ...(store !== undefined && { stores: store }),
        ...(digest !== undefined && { digest }),
        ...(dropDevices !== undefined && { dropDevices }),
        ...(casync !== undefined && { casync }),
      };
      const manifest = await interruptible(async (signal) => {
        try {
          const { onProgress, onWarning } = progress;
          return await importImage(await imagesOf(command), request, { signal, onProgress, onWarning });
        } finally {
          progress.end();
        }
      });
      if (json) print(`${printableJson(manifest, 2)}\n`);
      else {
        const { version, entries, bytes, droppedDevices, digest } = manifest;
        const nodes = droppedDevices === 1 ? "node" : "nodes";
        const without = droppedDevices === undefined ? "" : ` (${droppedDevices} device ${nodes} dropped)`;
        print(`imported ${name}@${version}: ${entries} files${without}, ${sizeOf(bytes)}, ${digest}\n`);
      }
    });
}

function addList(image: Command): void {
  image
    .command("ls")
    .description("list images, their versions and the berths that hold them")
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addOption(jsonOption("the list").conflicts("names"))
    .option("--names", "print only NAME@VERSION, one a line")
    .addHelpText("after", listHelp)
    .action(async ({ json, names }: ListChoice, command: Command) => {
      const records = await recordsOf(await imagesOf(command), command);
      if (json) print(`${printableJson(records, 2)}\n`);
      else if (names) print(records.map(({ name, version }) => `${name}@${version}\n`).join(""));
      else print(imageTable(records, hasColours()));
    });
}

function addRemove(image: Command): void {
  image
    .command("rm")
    .description("remove a version of an image, or all of it")
    .argument("<image>", "NAME or NAME@VERSION")
    .addOption(forceOption("even if a berth's configuration names it"))
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addOption(configOption())
    .addHelpText("after", removeHelp)
    .action(async (reference: string, { config, force }: RemoveChoice, command: Command) => {
      const { name, version } = parsed(reference);
      const images = await imagesOf(command);
      const current = images.resolve(name);
      const needed = (image: string): boolean =>
        image === name
          ? version === undefined || ("version" in current && current.version === version)
          : version === undefined
            ? image.startsWith(`${name}@`)
            : image === reference;
      const berths = force ? [] : berthsNaming(needed, config);
      if (berths.length > 0) {
        throw new BerthError(
          "IMAGE_IN_USE",
          `${reference} is in the configuration of ${berths.join(", ")}; remove it there first, or use --force`,
        );
      }
      const users = (await recordsOf(images, command))
        .filter((record) => record.name === name && (version === undefined || record.version === version))
        .flatMap((record) => record.berths);
      if (users.length > 0) {
        const names = [...new Set(users)];
        throw new BerthError(
          "IMAGE_IN_USE",
          `servers of ${names.join(", ")} run on ${reference}; stop them first: berth stop ${names.join(" ")}`,
        );
      }
      await images.remove(name, version);
    });
}

function addUse(image: Command): void {
  image
    .command("use")
    .description("make a version the current one of its image")
    .argument("<image>", "NAME@VERSION")
    .addOption(stateOption())
    .addOption(timeoutOption())
    .addHelpText("after", useHelp)
    .action(async (reference: string, _: StateChoice, command: Command) => {
      const { name, version } = parsed(reference);
      if (version === undefined)
        throw new BerthError("USAGE", `${name} is no version: write NAME@VERSION (berth image ls lists them)`);
      (await imagesOf(command)).use(name, version);
    });
}

/** The images of the state folder that the command's options mean. */
async function imagesOf(command: Command): Promise<Images> {
  return new Images(join(await stateFolder(command.optsWithGlobals<StateChoice & BrokerChoice>()), "images"));
}

/** A version, and the berths whose servers run on it. */
interface HeldImage extends ImageRecord {
  readonly berths: readonly string[];
}

async function recordsOf(images: Images, command: Command): Promise<HeldImage[]> {
  const records = images.list();
  const isHeld = records.some(({ holders }) => holders.length > 0);
  const choice = command.optsWithGlobals<StateChoice & BrokerChoice>();
  const berths = isHeld ? await berthsOf(images.folder, choice) : [];
  return records.map((record) => ({
    ...record,
    berths: record.holders.length > 0 ? berthsOn(berths, record) : [],
  }));
}

function parsed(reference: string): { readonly name: string; readonly version: string | undefined } {
  const found = parseReference(reference);
  if (found?.kind === "image") return found;
  throw new BerthError("USAGE", `"${printable(reference)}" is not the name of an image; ${IMAGE_RULE}`);
}

function imageTable(records: readonly HeldImage[], isColoured: boolean): string {
  if (records.length === 0) return "no images\n";
  const heads = ["IMAGE", "VERSION", "FILES", "SIZE", "IMPORTED", "FROM", "HELD BY"];
  const header = heads.map((text): Cell => ({ text, style: "dim" }));
  const rows = records.map(({ name, version, current, entries, bytes, imported, source, holders, berths }): Cell[] => [
    { text: name },
    current ? { text: `${version} *`, style: "green" } : { text: version },
    { text: String(entries) },
    { text: sizeOf(bytes) },
    { text: imported.replace("T", " ").slice(0, 16) },
    { text: printable(source.location) },
    { text: (berths.length > 0 ? berths : holders).map(printable).join(", ") || "-" },
  ]);
  return renderTable([header, ...rows], isColoured);
}
