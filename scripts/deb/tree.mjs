/**
 * Lays out the files of a Debian package below a folder, as Debian's policy and the file hierarchy have them. Programs
 * are in /usr/lib/berthd, and links to them in /usr/bin and /usr/sbin.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const LIB = "usr/lib/berthd";
const DOC = "usr/share/doc/berthd";
const NATIVE = ["berth-doorman", "berth-guard", "berth-launch", "shift-mount", "shift-own"];
/** Packages that only compiling needs. */
const HEADERS = new Set(["node-addon-api"]);

export const isProgram = (path) => NATIVE.includes(basename(path)) || path.endsWith(".node");

/** The modules of npm that berthd runs with, with their licences. Optional ones depend on the version of Node. */
export function modulesOf(root, { dependencies }) {
  return Object.keys(dependencies)
    .filter((name) => !HEADERS.has(name))
    .sort()
    .map((name) => {
      const folder = join(root, "node_modules", name);
      const { license, dependencies: more = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      if (Object.keys(more).length > 0) throw new Error(`${name} has modules of its own: ${Object.keys(more)}`);
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      return { name, folder, license, text: file === undefined ? license : readFileSync(join(folder, file), "utf8") };
    });
}

/** Writes everything that is installed, but the copyright file. `binaries` is the folder with the native files. */
export async function layOut(root, tree, { arch, binaries, modules, completions, changes }) {
  const from = (...parts) => join(root, ...parts);
  const into = (...parts) => join(tree, ...parts);
  const native = join(LIB, "prebuilds", `linux-${arch}`);

  copy(from("dist"), into(LIB, "dist"), (path) => !/\.d\.ts$|\.map$/.test(path));
  copy(from("units"), into(LIB, "units"));
  copy(from("examples/recipes"), into(LIB, "examples/recipes"));
  copyFileSync(from("package.json"), into(LIB, "package.json"));
  for (const name of ["dist/berth/berth.cjs", "dist/cli/berthd.js"]) {
    const path = into(LIB, name);
    // Debian's Node, and not one that a user has in PATH.
    write(path, readFileSync(path, "utf8").replace(/^#!.*/, "#!/usr/bin/node"));
  }
  for (const { name, folder } of modules) copy(folder, into(LIB, "node_modules", name), isNeeded);
  for (const name of NATIVE) copyTo(join(binaries, name), into(native, name));
  const addon = readdirSync(binaries).find((name) => name.endsWith(".node"));
  copyTo(join(binaries, addon), into(native, "berthd.glibc.node"));

  link(into("usr/bin/berth"), into(LIB, "dist/berth/berth.cjs"));
  link(into("usr/sbin/berthd"), into(LIB, "dist/cli/berthd.js"));
  for (const [name, folder] of [
    ["berth-launch", "usr/bin"],
    ["shift-own", "usr/bin"],
    ["shift-mount", "usr/sbin"],
  ])
    link(into(folder, name), into(native, name));

  const { renderUnit, unitNames } = await import(pathToFileURL(from("dist/systemd/units.js")));
  const programs = { berthd: ["/usr/sbin/berthd"], berth: ["/usr/bin/berth"], launcher: "/usr/bin/berth-launch" };
  for (const name of unitNames()) {
    // Only what every systemd has: a package does not know which one reads it.
    const { text } = renderUnit(name, { ...programs, systemd: 0 });
    const head = `# Of the package berthd; to change it: systemctl edit ${name}`;
    write(into("usr/lib/systemd/system", name), text.replace(/^# .*/, head));
  }
  mkdirSync(into("etc/berthd"), { recursive: true });

  for (const name of readdirSync(from("man")))
    write(into("usr/share/man", `man${name.slice(-1)}`, `${name}.gz`), zipped(readFileSync(from("man", name))));
  for (const [path, text] of Object.entries(completions)) write(into(path), text);

  for (const name of ["README.md", "SECURITY.md", "docs"]) copy(from(name), into(DOC, name));
  copy(from("examples"), into(DOC, "examples"), (path) => relative(root, path) !== "examples/recipes");
  link(into(DOC, "examples/recipes"), into(LIB, "examples/recipes"));
  write(into(DOC, "changelog.gz"), zipped(readFileSync(from("CHANGELOG.md"))));
  write(into(DOC, "changelog.Debian.gz"), zipped(changes));
}

/** Every path below the folder, sorted. It follows no link. */
export function pathsOf(folder, within = "") {
  return readdirSync(join(folder, within), { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(within, entry.name);
      return entry.isDirectory() ? [path, ...pathsOf(folder, path)] : [path];
    })
    .sort();
}

/** Modes and times of all files: the same for everybody who builds the package. */
export function settle(folder, epoch) {
  for (const path of pathsOf(folder).reverse()) {
    const full = join(folder, path);
    const stat = lstatSync(full);
    if (!stat.isSymbolicLink()) chmodSync(full, stat.isDirectory() || isExecuted(full, path) ? 0o755 : 0o644);
    lutimesSync(full, epoch, epoch);
  }
  chmodSync(folder, 0o755);
  lutimesSync(folder, epoch, epoch);
}

/** Of a module: what programs load. Its types, its own programs and its texts stay away. */
function isNeeded(path) {
  if (/\.[cm]?ts$|\.map$|\.md$|licen[cs]e$|\/typings$/i.test(path)) return false;
  return !statSync(path).isFile() || !readFileSync(path, "latin1").startsWith("#!");
}

function isExecuted(full, path) {
  if (path.startsWith("DEBIAN/")) return /\/(config|postinst|prerm|postrm)$/.test(path);
  if (path.startsWith(DOC)) return (statSync(full).mode & 0o100) !== 0;
  return NATIVE.includes(basename(path)) || /^usr\/lib\/berthd\/dist\/(berth\/berth\.cjs|cli\/berthd\.js)$/.test(path);
}

export function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function zipped(text) {
  return gzipSync(text, { level: 9 });
}

function copy(from, to, filter = () => true) {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true, filter, verbatimSymlinks: true });
}

function copyTo(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

function link(path, target) {
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(relative(dirname(path), target), path);
}
