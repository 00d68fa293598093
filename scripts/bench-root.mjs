#!/usr/bin/env node
/**
 * `npm run bench:root`: how long it takes from asking for a berth to a root in which a file is open, and what that
 * takes on disk, for small and large images, beside metacopy and a copy. docs/benchmarks.md says what the figures mean.
 * Needs root. Never installs anything, never leaves anything running or mounted.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brokerIn } from "../bench/broker.mjs";
import { compileRoot, missing } from "../bench/build.mjs";
import { publish } from "../bench/results.mjs";
import { summariseRoots, summariseRush } from "../bench/root-report.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:root -- [--quick] [--rounds N] [--json] [--save]

  --quick      images of 100 and 2000 files, 3 rounds of 100 leases, instead of 100, 10000 and 200000, 5 of 400
  --rounds N   how often every way has its turn
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

const BERTHS = 40;
const PER_FOLDER = 100;
const FILE = "0/0";
/** First leases at once: of so many berths, over so many connections. */
const RUSH = { berths: 500, connections: 100 };
const TIMEOUT = 300_000;

function read({ quick, json, save, rounds = quick ? "3" : "5" }) {
  const sizes = quick ? [100, 2000] : [100, 10_000, 200_000];
  return { print: { json, save }, rounds: whole("rounds", rounds, 999), cycles: quick ? 100 : 400, sizes };
}

/** A tree of so many files of 256 bytes. */
function makeImage(path, files) {
  const content = Buffer.alloc(256, "x");
  for (let index = 0; index < files; index++) {
    const folder = join(path, String(Math.floor(index / PER_FOLDER)));
    if (index % PER_FOLDER === 0) mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, String(index % PER_FOLDER)), content);
  }
}

/** Bytes on disk, folders included. */
function diskOf(path) {
  if (!existsSync(path)) return 0;
  return Number(
    execFileSync("du", ["-s", "--block-size=1", path], { encoding: "utf8", timeout: TIMEOUT }).split("\t")[0],
  );
}

/** The berths of one way of having the image: NAME@0, NAME@1, … */
function configure(folder, name, count, section) {
  writeFileSync(join(folder, `${name}@.toml`), section);
  for (let index = 0; index < count; index++) writeFileSync(join(folder, `${name}@${index}.toml`), "");
}

/** What is measured of one image, in the order of the table. */
function waysOf(files, { folder, config, state, programs, socket, cycles, processes }) {
  const { client, floor } = programs;
  const image = join(folder, `image-${files}`);
  makeImage(image, files);
  const lease = async (name, berths, count, warmup) =>
    JSON.parse(
      await processes.run([client, socket, `${name}@`, ...[berths, count, warmup].map(String), FILE], TIMEOUT),
    );
  const way = (name, berths, more) => {
    configure(config, `${name}-${files}`, berths, `[root]\nimage = "${image}"\n${more}`);
    return `${name}-${files}`;
  };
  const memory = 'shift = "idmap"\nstate = "volatile"\n';
  const idmap = way("idmap", BERTHS, 'shift = "idmap"\n');
  const asked = way("asked", BERTHS, 'shift = "idmap"\nready = false\n');
  const volatile = way("volatile", BERTHS, memory);
  const volatileAsked = way("volatile-asked", BERTHS, `${memory}ready = false\n`);
  const metacopy = way("metacopy", 2, 'shift = "metacopy"\n');
  const copy = join(folder, "copy");
  const layers = ["upper", "work"].map((name) => join(folder, `floor-${files}`, name));
  for (const layer of layers) mkdirSync(layer, { recursive: true });
  const floorOf = async () =>
    JSON.parse(await processes.run([floor, image, ...layers, FILE, String(cycles), "40"], TIMEOUT));
  const often = (name) => () => lease(name, BERTHS, cycles, BERTHS);
  const diskOfBerth = (name) => () => diskOf(join(state, "roots", `${name}@0`));
  return [
    { way: "idmap", run: often(idmap), disk: diskOfBerth(idmap) },
    { way: "C floor of idmap", run: floorOf, disk: () => 0 },
    { way: "idmap, built when asked", run: often(asked), disk: diskOfBerth(asked) },
    { way: "in memory", run: often(volatile), disk: diskOfBerth(volatile) },
    { way: "in memory, built when asked", run: often(volatileAsked), disk: diskOfBerth(volatileAsked) },
    { way: "idmap, first lease", once: true, run: () => lease(idmap, BERTHS, BERTHS, 0), disk: diskOfBerth(idmap) },
    { way: "metacopy", run: () => lease(metacopy, 2, 20, 2), disk: diskOfBerth(metacopy) },
    { way: "metacopy, first lease", once: true, run: () => lease(metacopy, 2, 2, 0), disk: diskOfBerth(metacopy) },
    {
      way: "cp -a",
      once: true,
      run: async () => {
        const begin = process.hrtime.bigint();
        await processes.run(["cp", "-a", image, copy], TIMEOUT);
        const time = Number(process.hrtime.bigint() - begin);
        return { p50: time, p99: time };
      },
      disk: () => diskOf(copy),
      clean: () => rmSync(copy, { recursive: true }),
    },
  ].map((one) => ({ ...one, files, rounds: [] }));
}

/** As many first leases at once in each round, of berths that nobody had before. */
function rushOf(image, rounds, { config, programs, socket, processes }) {
  const names = Array.from({ length: rounds }, (_, round) => `rush-${round}`);
  for (const name of names) configure(config, name, RUSH.berths, `[root]\nimage = "${image}"\nshift = "idmap"\n`);
  return async () => {
    const results = [];
    for (const [round, name] of names.entries()) {
      say(`round ${round + 1} of ${rounds}: ${RUSH.berths} first leases at once`);
      const command = [programs.client, socket, `${name}@`, String(RUSH.berths), "rush", String(RUSH.connections)];
      results.push(JSON.parse(await processes.run(command, TIMEOUT)));
    }
    return { ...RUSH, rounds: results };
  };
}

/** First what can be done only once, then everything else in turns. */
async function measure(ways, rounds) {
  const turn = async (one, label) => {
    say(`${label}: ${one.files} files, ${one.way}`);
    one.rounds.push(await one.run());
    one.taken = one.disk();
    one.clean?.();
  };
  for (const one of ways) if (one.once) await turn(one, "once");
  for (let round = 1; round <= rounds; round++) {
    for (const one of ways) if (!one.once) await turn(one, `round ${round} of ${rounds}`);
  }
  return ways.map(({ files, way, taken, rounds: done }) => ({ files, way, disk: taken, rounds: done }));
}

async function main({ print, rounds, cycles, sizes }) {
  if (process.getuid() !== 0) throw new Error("it makes mounts and needs to be root: sudo npm run bench:root");
  const lacking = missing(root);
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const programs = compileRoot(root);
  await inSession(async ({ machine, folder, processes }) => {
    const { config, state, socket, log, command } = brokerIn(folder);
    mkdirSync(config);
    say("making the images");
    const ways = sizes.flatMap((files) =>
      waysOf(files, { folder, config, state, programs, socket, cycles, processes }),
    );
    const image = join(folder, `image-${sizes[0]}`);
    const measureRush = rushOf(image, rounds, { config, programs, socket, processes });
    await processes.serve(command, socket, log);
    const rush = summariseRush(await measureRush());
    const rows = summariseRoots(await measure(ways, rounds));
    publish("root", print, { machine, rounds, cycles, rows, rush });
  });
}

const flag = { type: "boolean", default: false };
const options = { quick: flag, json: flag, save: flag, rounds: { type: "string" } };
await runBench({ name: "bench:root", usage, options, read, main });
