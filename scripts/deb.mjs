#!/usr/bin/env node
/**
 * `npm run deb`: builds a Debian package of this checkout by dpkg-deb(1). It needs no root, and no network once the
 * checkout is built. The same checkout gives the same bytes: all times are $SOURCE_DATE_EPOCH, or those of the commit.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { arch as ownArch, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { changelog, control, copyright, DEBIAN_ARCH } from "./deb/control.mjs";
import { isProgram, layOut, modulesOf, pathsOf, settle, write } from "./deb/tree.mjs";
import { isOlder, main, nativeSources, prepare, root, Sentence } from "./prepare.mjs";

const usage = `usage: npm run deb [-- [--arch ARCH] [--revision N] [--out DIR] [--json]]

Builds berthd_VERSION-REVISION_ARCH.deb from this checkout, and prints its path.

  --arch ARCH    ${Object.keys(DEBIAN_ARCH).join(" or ")}. Default: this machine's. Another one's binaries come from
                 npm run prebuilds -- --arch ARCH
  --revision N   Debian's revision: a later build of the same version has a higher one. Default: 1
  --out DIR      the folder for the package. Default: this checkout
  --json         print the path, version, architecture, size and SHA-256 as JSON
  --help         this text

SOURCE_DATE_EPOCH   the time of all files, in seconds. Default: that of the commit
Exit code: 0, 1 it could not be built, 100 usage.`;

/** What is in PATH once the package is installed. */
const COMMANDS = ["berth", "berthd", "berth-launch", "shift-mount", "shift-own"];

const running = new Set();
let work;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    for (const child of running) child.kill(signal);
    clean();
    process.kill(process.pid, signal);
  });
}

await main(async () => {
  const { help, json, arch, revision, out } = readArguments();
  if (help) return void console.log(usage);
  if (DEBIAN_ARCH[arch] === undefined)
    throw new Sentence(`--arch ${arch}: there is ${Object.keys(DEBIAN_ARCH).join(" and ")}`);
  await prepare();
  process.umask(0o022);
  work = mkdtempSync(join(tmpdir(), "berthd-deb-"));
  try {
    const made = await build(arch, revision, resolve(out));
    console.log(json ? JSON.stringify(made, null, 2) : made.path);
  } finally {
    clean();
  }
});

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        arch: { type: "string", default: ownArch() },
        revision: { type: "string", default: "1" },
        out: { type: "string", default: root },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (!/^[1-9]\d{0,5}$/.test(values.revision)) throw new Error(`--revision ${values.revision} is not a number`);
    return values;
  } catch (error) {
    console.error(`deb: ${error.message}\n\n${usage}`);
    process.exit(100);
  }
}

async function build(arch, revision, out) {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const version = `${manifest.version}-${revision}`;
  const name = `berthd_${version}_${DEBIAN_ARCH[arch]}.deb`;
  const epoch = await sourceDate();
  const [tree, file] = [join(work, "tree"), join(work, name)];
  mkdirSync(tree);

  say("collecting files");
  const modules = modulesOf(root, manifest);
  await layOut(root, tree, {
    arch,
    binaries: await binariesFor(arch),
    modules,
    completions: await completions(),
    changes: changelog({ version, epoch }),
  });
  const license = readFileSync(join(root, "LICENSE"), "utf8");
  write(join(tree, "usr/share/doc/berthd/copyright"), copyright(license, modules));
  writeControl(tree, {
    version,
    arch,
    node: manifest.engines.node.replace(">=", ""),
    description: manifest.description,
  });
  settle(tree, epoch);

  say(`building ${name}`);
  const options = ["--root-owner-group", "-Zxz", "--build", tree, file];
  // How many threads compress changes the bytes.
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(epoch), DPKG_DEB_THREADS_MAX: "1" };
  // dpkg-deb speaks on stdout, which is ours.
  await run("dpkg-deb", options, { stdout: 2, env });
  const path = join(out, name);
  mkdirSync(out, { recursive: true });
  copyFileSync(file, `${path}.part`);
  renameSync(`${path}.part`, path);
  const sha256 = createHash("sha256").update(readFileSync(path)).digest("hex");
  return { path, version, architecture: DEBIAN_ARCH[arch], size: statSync(path).size, sha256 };
}

/** The folder DEBIAN: what dpkg reads. It comes last, since it counts the other files. */
function writeControl(tree, about) {
  const own = pathsOf(tree).filter((path) => lstatSync(join(tree, path)).isFile());
  const bytes = new Map(own.map((path) => [path, readFileSync(join(tree, path))]));
  const kilobytes = [...bytes.values()].reduce((sum, { length }) => sum + Math.ceil(length / 1024), 0);
  const binaries = own.filter(isProgram).map((path) => bytes.get(path));
  const sums = own.map((path) => `${createHash("md5").update(bytes.get(path)).digest("hex")}  ${path}\n`);
  write(join(tree, "DEBIAN/control"), control(about, binaries, kilobytes));
  write(join(tree, "DEBIAN/md5sums"), sums.join(""));
  for (const name of ["config", "postinst", "prerm", "postrm", "templates"])
    write(join(tree, "DEBIAN", name), readFileSync(join(root, "scripts/deb", name)));
}

/** A folder with the native files, stripped. */
async function binariesFor(arch) {
  if (arch !== ownArch()) {
    const folder = join(root, "prebuilds", `linux-${arch}`);
    if (isOlder([join(folder, "berth-launch")], nativeSources())) {
      throw new Sentence(`there are no binaries of this version for ${arch}; npm run prebuilds -- --arch ${arch}`);
    }
    return folder;
  }
  const folder = join(work, "native");
  mkdirSync(folder);
  for (const name of ["berthd.node", "berth-doorman", "berth-guard", "berth-launch", "shift-mount", "shift-own"])
    await run("strip", ["--strip-all", "-o", join(folder, name), join(root, "build/Release", name)]);
  return folder;
}

/** The scripts of each shell, in the folder and with the name that it looks for. */
async function completions() {
  const places = {
    bash: (name) => `usr/share/bash-completion/completions/${name}`,
    zsh: (name) => `usr/share/zsh/vendor-completions/_${name}`,
    fish: (name) => `usr/share/fish/vendor_completions.d/${name}.fish`,
  };
  const berth = join(root, "dist/berth/berth.cjs");
  const wanted = Object.entries(places).flatMap(([shell, place]) => COMMANDS.map((name) => ({ shell, place, name })));
  const scripts = wanted.map(async ({ shell, place, name }) => [
    place(name),
    await run(process.execPath, [berth, "completion", shell, name], { stdout: "pipe" }),
  ]);
  return Object.fromEntries(await Promise.all(scripts));
}

/** Seconds since 1970. */
async function sourceDate() {
  const { SOURCE_DATE_EPOCH: given } = process.env;
  if (given !== undefined) {
    if (!/^\d{1,11}$/.test(given)) throw new Sentence(`SOURCE_DATE_EPOCH is "${given}", which is no number of seconds`);
    return Number(given);
  }
  const isClone = existsSync(join(root, ".git"));
  if (isClone) return Number(await run("git", ["-C", root, "log", "-1", "--format=%ct"], { stdout: "pipe" }));
  return Math.floor(statSync(join(root, "package.json")).mtimeMs / 1000);
}

/** Its stdout, where that is a pipe. */
async function run(program, args, { stdout = "ignore", env = process.env } = {}) {
  const child = spawn(program, args, { stdio: ["ignore", stdout, "inherit"], env });
  running.add(child);
  const output = [];
  child.stdout?.on("data", (part) => output.push(part));
  const code = await new Promise((resolved, reject) => {
    child.once("error", ({ code: why, message }) =>
      reject(new Sentence(why === "ENOENT" ? `there is no ${program}; ${howToGet(program)}` : message)),
    );
    child.once("close", resolved);
  }).finally(() => running.delete(child));
  if (code !== 0) throw new Sentence(`${program} failed; what it said stands above`);
  return Buffer.concat(output).toString();
}

function howToGet(program) {
  const packages = { "dpkg-deb": "dpkg", strip: "binutils" };
  return `apt-get install ${packages[program] ?? program}`;
}

function say(what) {
  console.error(`${what} …`);
}

function clean() {
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
  work = undefined;
}
