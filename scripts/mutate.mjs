#!/usr/bin/env node
/**
 * `npm run mutate [-- ROOM…]`: changes the code of the pure rooms, one small change at a time, and runs their tests for
 * each. A change that no test notices survives. test/mutants.json lists the accepted survivors, each with its reason.
 *
 * Stryker is not among the package's devDependencies: it would double the time of `npm ci`. The first run installs it
 * into node_modules/.cache/mutate.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { main, prepare, root, Sentence } from "./prepare.mjs";

const STRYKER = ["@stryker-mutator/core@9.6.1", "@stryker-mutator/vitest-runner@9.6.1"];
const LEAST_PERCENT = 90;

/** A room: what is changed, and the tests that must notice. All of them are quick, and need no root. */
const rooms = {
  "bind-match": { mutate: ["src/broker/bind/bind-match.ts"], tests: ["test/broker/bind/bind-match.test.ts"] },
  policy: {
    mutate: ["policy", "limits/quota"].map((name) => `src/broker/access/${name}.ts`),
    tests: ["policy", "quota"].map((name) => `test/broker/access/${name}.test.ts`),
  },
  launch: { mutate: ["src/launch/*.ts"], tests: ["test/launch/{listen-fds,plan-encode}.test.ts"] },
  wire: { mutate: ["src/wire/*.ts"], tests: ["test/wire.test.ts", "test/wire/*.test.ts"] },
  varlink: {
    mutate: ["src/varlink/**/*.ts", "!src/varlink/**/*.types.ts"],
    tests: ["test/varlink/*.test.ts"],
  },
  config: {
    mutate: ["src/config/**/*.ts"],
    tests: ["test/config/**/*.test.ts", "test/docs/configuration.test.ts"],
  },
};

const usage = `usage: npm run mutate [-- [--incremental] [--jobs N] [--file FILE[:FIRST-LAST]] [ROOM…]]

Changes the code of the pure rooms, one small change at a time, and runs their tests for each.
Rooms: ${Object.keys(rooms).join(", ")}. Default: all of them, which takes hours.

  --incremental    keep the results of the last run for changes whose code and tests are the same
  --jobs N         run so many changes at once; default 2
  --file FILE      change this file of the room only, or these lines of it
  --help           this text

The log of a room is .mutate/ROOM.log, its results are .mutate/ROOM.json.
Exit code 1: less than ${LEAST_PERCENT} % were killed, or one survived that test/mutants.json does not list.`;

const folder = ".mutate";
const cache = join(root, "node_modules/.cache/mutate");

await main(async () => {
  const { values, names } = readArguments();
  if (values.help) {
    console.log(usage);
    return 0;
  }
  await prepare();
  await installStryker();
  mkdirSync(join(root, folder), { recursive: true });
  const accepted = JSON.parse(readFileSync(join(root, "test/mutants.json"), "utf8"));
  let code = 0;
  for (const name of names) {
    await runStryker(name, values);
    if (!report(name, accepted, values.file !== undefined)) code = 1;
  }
  return code;
});

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        incremental: { type: "boolean", default: false },
        jobs: { type: "string", default: "2" },
        file: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    const unknown = positionals.find((name) => !Object.hasOwn(rooms, name));
    if (unknown !== undefined) throw new Error(`there is no room ${unknown}`);
    if (!/^[1-9]\d?$/.test(values.jobs)) throw new Error(`--jobs is ${values.jobs}, which is not a number from 1 up`);
    return { values, names: positionals.length === 0 ? Object.keys(rooms) : positionals };
  } catch (error) {
    throw new Sentence(`${error.message}\n\n${usage}`);
  }
}

/** Its peer vitest is that of the repository, so npm must not install another one. */
async function installStryker() {
  const stamp = join(cache, "installed");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === STRYKER.join()) return;
  console.log(`installing ${STRYKER.join(" and ")} into ${relative(root, cache)}`);
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, "package.json"), '{ "private": true }\n');
  const code = await run("npm", ["install", "--legacy-peer-deps", "--no-audit", "--no-fund", ...STRYKER], {
    cwd: cache,
  });
  if (code !== 0) throw new Sentence("Stryker cannot be installed; npm says above why");
  writeFileSync(stamp, STRYKER.join());
}

async function runStryker(name, { incremental, jobs, file }) {
  const { mutate, tests } = rooms[name];
  const results = join(folder, `${name}.json`);
  rmSync(join(root, results), { force: true });
  const options = {
    testRunner: "vitest",
    // The patterns name the tests already; to search them by what they import takes longer than to run them.
    vitest: { configFile: "vitest.mutate.config.ts", related: false },
    mutate: file === undefined ? mutate : [file],
    coverageAnalysis: "perTest",
    concurrency: Number(jobs),
    incremental,
    incrementalFile: join(folder, `${name}.incremental.json`),
    // For a loaded machine. A test that waits for ever fails before, by its own limit (vitest.mutate.config.ts).
    timeoutMS: 20_000,
    reporters: ["json", "progress-append-only"],
    jsonReporter: { fileName: results },
    tempDirName: join(folder, `${name}-sandbox`),
    cleanTempDir: "always",
    ignorePatterns: [folder, ".bench", "coverage", "prebuilds", "dist", "build/Release/obj*"],
    // It reads tsconfig.json by an interface that TypeScript 7 no longer has.
    tsconfigFile: "none.json",
    // It would write a comment into every file, also into those that a test compares. No type is checked here.
    disableTypeChecks: false,
    allowConsoleColors: false,
  };
  const settings = join(root, folder, `${name}.stryker.json`);
  writeFileSync(settings, JSON.stringify(options, undefined, 2));
  const log = join(folder, `${name}.log`);
  const program = join(cache, "node_modules/@stryker-mutator/core/bin/stryker.js");
  const out = openSync(join(root, log), "w");
  const code = await run("nice", ["-n", "19", process.execPath, program, "run", settings], {
    cwd: root,
    // Tests of the configuration make and remove thousands of folders: quicker in memory than on a disk.
    env: {
      ...(existsSync("/dev/shm") && { TMPDIR: "/dev/shm" }),
      ...process.env,
      BERTHD_MUTATE_TESTS: tests.join(" "),
    },
    stdio: ["ignore", out, out],
  });
  if (code !== 0 || !existsSync(join(root, results))) {
    throw new Sentence(`${name}: Stryker ended with ${code}; ${log} says why`);
  }
}

function run(program, args, options) {
  const child = spawn(program, args, { stdio: "inherit", ...options });
  return new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new Sentence(`cannot run ${program} (${error.message})`)));
    child.on("close", (code) => resolve(code ?? 1));
  });
}

/** Prints what survived without a reason, then the room's line. Returns whether the room is good. */
function report(name, accepted, isPart) {
  const counts = { Killed: 0, Timeout: 0, Survived: 0, NoCoverage: 0 };
  const survivors = [];
  let late = 0;
  const { files } = JSON.parse(readFileSync(join(root, folder, `${name}.json`), "utf8"));
  for (const [file, { source, mutants }] of Object.entries(files)) {
    const lines = source.split("\n");
    for (const { status, statusReason, location, replacement, mutatorName } of mutants) {
      if (Object.hasOwn(counts, status)) counts[status]++;
      if (status === "Timeout" || /^(Test|Hook) timed out/.test(statusReason)) late++;
      if (status !== "Survived" && status !== "NoCoverage") continue;
      const { line } = location.start;
      const [from, to] = [plain(textAt(lines, location)), plain(replacement)];
      survivors.push({ file, line, whole: lines[line - 1].trim(), from, to, mutatorName });
    }
  }
  const strangers = survivors.filter((one) => !accepted.some((entry) => isOf(entry, one)));
  for (const { file, line, from, to, mutatorName } of strangers) {
    console.log(`${file}:${line} ${mutatorName}\n  - ${from}\n  + ${to}`);
  }
  if (strangers.length > 0) {
    console.log("Write a test for each, or list it in test/mutants.json with the reason why it may survive.");
  }
  const gone = isPart
    ? []
    : accepted.filter((entry) => Object.hasOwn(files, entry.file) && !survivors.some((one) => isOf(entry, one)));
  for (const { file, from, to } of gone) {
    console.log(`${file}: no longer survives, so remove it from test/mutants.json\n  - ${from}\n  + ${to}`);
  }
  const killed = counts.Killed + counts.Timeout;
  const all = killed + counts.Survived + counts.NoCoverage;
  const percent = all === 0 ? 100 : Math.floor((killed * 1000) / all) / 10;
  const left = `${counts.Survived} survived, ${counts.NoCoverage} without coverage`;
  console.log(`${name}: ${killed} killed (${late} by the clock), ${left}, ${percent} %`);
  return percent >= LEAST_PERCENT && strangers.length === 0;
}

/** Whether an entry of test/mutants.json accepts a survivor. `in` is the line, where the text occurs in others too. */
function isOf(entry, { file, whole, from, to }) {
  return entry.file === file && entry.from === from && entry.to === to && (entry.in ?? whole) === whole;
}

function textAt(lines, { start, end }) {
  // Lines and columns count from 1.
  const part = lines.slice(start.line - 1, end.line);
  part[part.length - 1] = part[part.length - 1].slice(0, end.column - 1);
  part[0] = part[0].slice(start.column - 1);
  return part.join("\n");
}

/** One line, so that indentation does not matter, and short. */
function plain(text) {
  const line = text.replace(/\s+/g, " ");
  return line.length <= 120 ? line : `${line.slice(0, 100)} … ${line.slice(-15)}`;
}
