#!/usr/bin/env node
/**
 * `npm run bench:cli`: how long the commands that people type take, from their start to their end, beside a Node that
 * does nothing. docs/benchmarks.md says what the figures mean. Needs no privilege. Never installs anything, never
 * leaves anything running.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brokerIn } from "../bench/broker.mjs";
import { summariseCommands } from "../bench/cli-report.mjs";
import { publish } from "../bench/results.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:cli -- [--quick] [--rounds N] [--json] [--save]

  --quick      20 rounds instead of 100
  --rounds N   how often every command has its turn
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

const FLOOR = "node -e 0";

function read({ quick, json, save, rounds = quick ? "20" : "100" }) {
  return { print: { json, save }, rounds: whole("rounds", rounds, 9999) };
}

/** What is run, by the words that people type. */
function commandsOf(socket) {
  const berth = [join(root, "dist/berth/berth.cjs"), "--socket", socket];
  return {
    [FLOOR]: ["-e", "0"],
    "berth ls": [...berth, "ls"],
    "berth show": [...berth, "show", "lobby"],
    "berth run … true": [...berth, "run", "lobby", "--", "true"],
    "berth --help": [...berth, "--help"],
  };
}

/** Every command once in each round, milliseconds of each. */
function measure(commands, rounds) {
  const times = Object.fromEntries(Object.keys(commands).map((name) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    if (round % 10 === 1) say(`round ${round} of ${rounds}`);
    for (const [name, args] of Object.entries(commands)) {
      const begin = process.hrtime.bigint();
      const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
      times[name].push(Number(process.hrtime.bigint() - begin) / 1e6);
      if (status !== 0) throw new Error(`${name} ended with ${status}: ${stderr.trim()}`);
    }
  }
  return times;
}

async function main({ print, rounds }) {
  await inSession(async ({ machine, folder, processes }) => {
    const { config, socket, log, command } = brokerIn(folder);
    mkdirSync(config);
    const server = process.getuid() === 0 ? '[server]\nuser = "nobody"\n' : "";
    writeFileSync(join(config, "lobby.toml"), `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${server}`);
    await processes.serve(command, socket, log);
    const rows = summariseCommands(measure(commandsOf(socket), rounds), FLOOR);
    publish("cli", print, { machine, rounds, rows });
  });
}

const flag = { type: "boolean", default: false };
const options = { quick: flag, json: flag, save: flag, rounds: { type: "string" } };
await runBench({ name: "bench:cli", usage, options, read, main });
