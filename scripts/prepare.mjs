/**
 * What `npm start` and `npm test` need of a fresh clone: packages, the addon and the native programs, the compiled
 * TypeScript. Each is made only when it is missing or older than what it is made from. BERTHD_SKIP_BUILD=1 makes none.
 * Plain JavaScript without dependencies, because it runs before there are any.
 */
import { spawn } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { withHeaders } from "../native/headers.mjs";

export const root = fileURLToPath(new URL("..", import.meta.url));
const at = (...parts) => join(root, ...parts);

/** A sentence for people: shown without a stack. */
export class Sentence extends Error {}

/** Makes what is missing. Throws a {@link Sentence} that says what stands in the way, and how to get it. */
export async function prepare() {
  checkSystem();
  if (process.env.BERTHD_SKIP_BUILD === "1") return;
  if (
    isOlder(
      [at("node_modules/.package-lock.json")],
      [existsSync(at("package-lock.json")) ? at("package-lock.json") : at("package.json")],
    )
  ) {
    // Packages bring the addon's headers, and their installation compiles it.
    if (!isBuilt()) checkCompiler();
    await step("installing packages", existsSync(at("package-lock.json")) ? ["ci"] : ["install"]);
  }
  if (!isBuilt()) {
    checkCompiler();
    await step("building the addon and the native programs", ["run", "build:native"]);
  }
  // Not in dist, which is packed as it is.
  const stamp = at("node_modules/.berthd-compiled");
  if (
    !existsSync(at("dist/berth/berth.cjs")) ||
    !existsSync(at("dist/doorman/protocols.js")) ||
    isOlder(
      [stamp],
      [
        ...filesOf("src"),
        ...filesOf("packages/doorman/src"),
        at("tsconfig.json"),
        at("tsconfig.build.json"),
        at("scripts/bundle.mjs"),
      ],
    )
  ) {
    await step("compiling TypeScript", ["run", "build:ts"]);
    writeFileSync(stamp, "");
  }
  await compilePackage("web", "the status page", ["dist/server", "dist/page/index.html"]);
  await compilePackage("fleet", "the agent of a fleet", ["dist/cli/main.js"]);
}

/** Compiles packages/NAME into `made`. */
async function compilePackage(name, what, made) {
  const folder = `packages/${name}`;
  const stamp = at(`node_modules/.berthd-${name}-compiled`);
  const sources = filesOf(folder).filter((path) => !/\/packages\/[a-z]+\/(dist|node_modules)\//.test(path));
  if (made.every((path) => existsSync(at(folder, path))) && !isOlder([stamp], sources)) return;
  await step(`compiling ${what}`, ["run", `build:${name}`]);
  writeFileSync(stamp, "");
}

/** Runs the program of a script; a {@link Sentence} ends it as one line on stderr and exit code 1. */
export async function main(body) {
  try {
    process.exitCode = await body();
  } catch (error) {
    console.error(error instanceof Sentence ? error.message : error);
    process.exitCode = 1;
  }
}

function checkSystem() {
  if (process.platform !== "linux") {
    throw new Sentence(
      `berthd runs on Linux only, and this is ${process.platform}; a virtual machine or a container will do`,
    );
  }
  if (!isAtLeast(process.versions.node, 20, 12)) {
    throw new Sentence(
      `berthd needs Node 20.12 or newer, and this is ${process.version}; get one from https://nodejs.org`,
    );
  }
  // CLOSE_RANGE_CLOEXEC of close_range(2).
  if (!isAtLeast(release(), 5, 11)) {
    throw new Sentence(`berthd needs Linux 5.11 or newer, and this is ${release()}; update the kernel`);
  }
}

function isAtLeast(version, wantedMajor, wantedMinor) {
  const [major, minor] = version.split(".").map((part) => Number.parseInt(part, 10));
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function checkCompiler() {
  const missing = ["python3", "make", process.env.CXX ?? "g++"].filter((tool) => !isInPath(tool.split(" ")[0]));
  if (missing.length === 0) return;
  const packages = "apt-get install python3 make g++ (Debian, Ubuntu), dnf install python3 make gcc-c++ (Fedora)";
  throw new Sentence(`the addon cannot be built: there is no ${missing.join(", no ")}; ${packages}`);
}

function isInPath(tool) {
  return tool.includes("/")
    ? isExecutable(tool)
    : (process.env.PATH ?? "").split(delimiter).some((folder) => isExecutable(join(folder, tool)));
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function isBuilt() {
  const made = ["berthd.node", "berth-launch", "shift-mount", "shift-own"].map((name) => at("build/Release", name));
  return !isOlder(made, nativeSources());
}

/** What the addon and the native programs are made from. */
export function nativeSources() {
  return [...filesOf("native").filter((path) => /\.(cc|h)$/.test(path)), at("binding.gyp")];
}

/** Whether one of `made` is missing, or older than one of `sources`. */
export function isOlder(made, sources) {
  if (!made.every((path) => existsSync(path))) return true;
  const times = (paths) => paths.filter((path) => existsSync(path)).map((path) => statSync(path).mtimeMs);
  return Math.min(...times(made)) < Math.max(...times(sources));
}

function filesOf(folder) {
  return readdirSync(at(folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** One run of npm, the one that runs us if there is one. Its output is shown only when it fails. */
async function step(what, args) {
  const started = performance.now();
  const tty = process.stderr.isTTY;
  process.stderr.write(tty ? `${what} …` : `${what} …\n`);
  const cli = process.env.npm_execpath;
  const [program, first] = cli?.endsWith(".js") ? [process.execPath, [cli]] : ["npm", []];
  const child = spawn(program, [...first, ...args, "--no-audit", "--no-fund"], {
    cwd: root,
    env: { JOBS: "max", ...withHeaders() }, // as many compilers as there are processors
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = [];
  child.stdout.on("data", (chunk) => output.push(chunk));
  child.stderr.on("data", (chunk) => output.push(chunk));
  const code = await new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new Sentence(`cannot run npm (${error.message}); it comes with Node`)));
    child.on("close", resolve);
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (tty) process.stderr.write(`\r\x1b[K${what}: ${code === 0 ? `${seconds} s` : "failed"}\n`);
  if (code === 0) return;
  process.stderr.write(Buffer.concat(output));
  throw new Sentence(`\`npm ${args.join(" ")}\` failed; what it said stands above`);
}
