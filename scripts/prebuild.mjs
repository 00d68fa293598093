#!/usr/bin/env node
/**
 * `npm run prebuilds`: puts the binaries that a package carries into prebuilds/linux-ARCH: the addon, tagged with its
 * libc, and the programs. `npm pack` runs it. It builds in a folder of its own: what this checkout uses stays.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, copyFileSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { arch as ownArch, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { parseArgs } from "node:util";
import { withHeaders } from "../native/headers.mjs";
import { main, root, Sentence } from "./prepare.mjs";

/** Debian's compilers for other machines: the prefix of their names, and the package. */
const CROSS = {
  arm64: { prefix: "aarch64-linux-gnu-", from: "g++-aarch64-linux-gnu" },
  x64: { prefix: "x86_64-linux-gnu-", from: "g++-x86-64-linux-gnu" },
};

const usage = `usage: npm run prebuilds [-- [--arch ARCH]…]

Compiles the addon and the native programs into prebuilds/linux-ARCH, and removes what else is in prebuilds.

  --arch ARCH   ${Object.keys(CROSS).join(" or ")}; may be repeated.
                Default: the words of $BERTHD_PREBUILD, else this machine's
  --help        this text

Another machine's binaries need Debian's cross compiler: apt-get install g++-aarch64-linux-gnu.
With BERTHD_PREBUILD="x64 arm64", npm pack and npm publish build for both.`;

const running = new Set();
let workFolder;
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop(signal));

await main(async () => {
  const { help, archs } = readArguments();
  if (help) return void console.log(usage);
  const compilers = archs.map((arch) => [arch, compilerFor(arch)]);
  rmSync(join(root, "prebuilds"), { recursive: true, force: true });
  for (const [arch, compiler] of compilers) await build(arch, compiler);
});

function readArguments() {
  try {
    const { values } = parseArgs({
      options: { arch: { type: "string", multiple: true }, help: { type: "boolean", default: false } },
    });
    const { BERTHD_PREBUILD = ownArch() } = process.env;
    return { help: values.help, archs: [...new Set(values.arch ?? BERTHD_PREBUILD.split(" ").filter(Boolean))] };
  } catch (error) {
    console.error(`prebuild: ${error.message}\n\n${usage}`);
    process.exit(100);
  }
}

/** The environment that makes node-gyp build for this architecture, and the program that strips. */
function compilerFor(arch) {
  if (arch === ownArch()) return { env: {}, strip: "strip" };
  const cross = CROSS[arch];
  if (cross === undefined) throw new Sentence(`--arch ${arch}: there is ${Object.keys(CROSS).join(" and ")}`);
  const { prefix, from } = cross;
  if (!isInPath(`${prefix}g++`)) {
    throw new Sentence(`cannot build for ${arch}: there is no ${prefix}g++; apt-get install ${from}`);
  }
  const env = { CC: `${prefix}gcc`, CXX: `${prefix}g++`, AR: `${prefix}ar`, LINK: `${prefix}g++` };
  return { env, strip: `${prefix}strip` };
}

function isInPath(program) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

async function build(arch, { env, strip }) {
  workFolder = mkdtempSync(join(tmpdir(), "berthd-prebuild-"));
  try {
    for (const name of ["binding.gyp", "native", "node_modules", "package.json"])
      symlinkSync(join(root, name), join(workFolder, name));
    const options = ["--napi", "--strip", "--tag-libc", "--strip-bin", strip, "--arch", arch, "--out", root];
    const bin = join(root, "node_modules/.bin");
    await run("prebuildify", options, {
      ...{ JOBS: "max", ...withHeaders(), ...env },
      PATH: `${bin}${delimiter}${process.env.PATH}`,
    });
    const folder = join(root, "prebuilds", `linux-${arch}`);
    const release = join(workFolder, "build/Release");
    for (const program of programsIn(release)) {
      copyFileSync(join(release, program), join(folder, program));
      await run(strip, ["--strip-all", join(folder, program)], process.env);
    }
  } finally {
    removeWork();
  }
}

/** The programs that binding.gyp names are executables without a suffix. */
function programsIn(release) {
  return readdirSync(release, { withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.includes("."))
    .map(({ name }) => name);
}

async function run(program, args, env) {
  // stdout belongs to `npm pack --json`. In a group of its own: make ends with it.
  const child = spawn(program, args, { cwd: workFolder, stdio: ["ignore", 2, 2], env, detached: true });
  running.add(child);
  const code = await new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Sentence(`cannot run ${program}: ${error.message}`)));
    child.once("close", resolve);
  }).finally(() => running.delete(child));
  if (code !== 0) throw new Sentence(`${program} failed; what it said stands above`);
}

function stop(signal) {
  for (const { pid } of running) process.kill(-pid, "SIGTERM");
  removeWork();
  process.kill(process.pid, signal);
}

function removeWork() {
  if (workFolder !== undefined) rmSync(workFolder, { recursive: true, force: true });
  workFolder = undefined;
}
