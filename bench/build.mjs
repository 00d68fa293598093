/**
 * What the benchmark needs, and its C programs compiled into `.bench/`. Never installs anything: what is missing is
 * named, with the package that has it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { arch } from "node:os";
import { delimiter, join } from "node:path";

const flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra"];
const s6Programs = ["s6-fdholder-daemon", "s6-accessrules-cdb-from-fs"];
const s6Headers = "#include <s6/fdholder.h>\n#include <skalibs/tai.h>\n";

/** Whether a program of this name can be called. */
export function onPath(program) {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** One sentence for each thing without which nothing can be measured. */
export function missing(root) {
  const sentences = [];
  if (!onPath("gcc")) sentences.push("gcc is missing, and bench/*.c needs it: apt install gcc libc6-dev");
  if (!onPath("taskset")) sentences.push("taskset is missing, which pins every process: apt install util-linux");
  if (!existsSync(join(root, "dist/cli/berthd.js"))) {
    sentences.push("dist/cli/berthd.js is missing, which is what is measured: npm run build");
  }
  return sentences;
}

/** The path of a program of ours that was built or came with the package; undefined if neither. */
export function findProgram(root, name) {
  return ["build/Release", `prebuilds/linux-${arch()}`].map((folder) => join(root, folder, name)).find(existsSync);
}

/** Why s6 has to be left out, in one sentence; undefined if it is there. */
export function s6Missing() {
  const headers = () =>
    spawnSync("gcc", ["-fsyntax-only", "-x", "c", "-"], { input: s6Headers, timeout: 30_000 }).status === 0;
  if (s6Programs.every(onPath) && headers()) return undefined;
  return "s6-fdholderd or its headers are missing, so s6 is left out: apt install s6 libs6-dev skalibs-dev";
}

/**
 * Why systemd-socket-proxyd has to be left out, in one sentence; its command line up to the addresses if it is there.
 */
export function socketProxy() {
  const proxy = ["/usr/lib/systemd", "/lib/systemd"]
    .map((folder) => join(folder, "systemd-socket-proxyd"))
    .find(existsSync);
  if (proxy !== undefined && onPath("systemd-socket-activate")) return { proxy };
  return { why: "systemd-socket-proxyd or -activate is missing, so it is left out: apt install systemd" };
}

/** Compiles one program of bench/ after the other into `.bench/`, each with common.c. */
function compiler(root) {
  const folder = join(root, ".bench");
  mkdirSync(folder, { recursive: true });
  return (name, ...libraries) => {
    const program = join(folder, name);
    const sources = [`${name}.c`, "common.c"].map((file) => join(root, "bench", file));
    execFileSync("gcc", [...flags, "-o", program, ...sources, ...libraries], {
      stdio: ["ignore", 2, 2],
      timeout: 60_000,
    });
    return program;
  };
}

/** Compiles the programs of `npm run bench` and returns their paths; `s6Client` only if asked for. */
export function compile(root, withS6) {
  const build = compiler(root);
  return {
    floor: build("floor"),
    client: build("client"),
    s6Client: withS6 ? build("s6-client", "-ls6", "-lskarnet") : undefined,
  };
}

/** Compiles the programs of `npm run bench:launch` and returns their paths. */
export function compileLaunch(root) {
  const build = compiler(root);
  return { many: build("launch-many"), server: build("launch-server") };
}

/** Compiles the client of `npm run bench:endure` and returns its path. */
export function compileClient(root) {
  return compiler(root)("client");
}

/** Compiles the programs of `npm run bench:root` and returns their paths. */
export function compileRoot(root) {
  const build = compiler(root);
  return { client: build("root-client"), floor: build("root-floor") };
}

/** Compiles the programs of `npm run bench:bind` and returns their paths. */
export function compileBind(root) {
  const build = compiler(root);
  return {
    loop: build("bind-loop"),
    first: build("bind-first"),
    responder: build("bind-responder"),
    server: build("bind-server"),
    client: build("bind-client"),
    forward: build("udp-forward"),
  };
}
