#!/usr/bin/env node
/**
 * `npm run bench:bind`: what bind delivery costs when a server binds, and that it costs nothing afterwards, beside what
 * forwarding costs. One run, one core, taking turns. docs/benchmarks.md says what the figures mean. Never installs,
 * never leaves anything running.
 */
import { startBindContenders } from "../bench/bind-contenders.mjs";
import { bindTable, summariseBind } from "../bench/bind-report.mjs";
import { compileBind, findProgram, missing, socketProxy } from "../bench/build.mjs";
import { machineLine } from "../bench/report.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:bind -- [--quick] [--rounds N] [--json]

  --quick      3 rounds of 100 binds, 20000 datagrams and 512 MB, instead of 5 of 400, 100000 and 2048
  --rounds N   how often every contender has its turn
  --json       print JSON instead of the table`;

/** How much of each is done in a turn, and before it untimed; how long the turn may take in milliseconds. */
function amounts(quick) {
  return {
    bind: { amount: quick ? 100 : 400, warmup: 20, timeout: 60_000 },
    udp: { amount: quick ? 20_000 : 100_000, warmup: 2000, timeout: 120_000 },
    tcp: { amount: quick ? 512 : 2048, warmup: 0, timeout: 120_000 },
  };
}

function read({ quick, json, rounds = quick ? "3" : "5" }) {
  return { json, rounds: whole("rounds", rounds, 999), turns: amounts(quick) };
}

async function measure(processes, contenders, turns, rounds) {
  const results = contenders.map((contender) => ({ contender, rounds: [] }));
  for (let round = 1; round <= rounds; round++) {
    for (const { contender, rounds: done } of results) {
      say(`round ${round} of ${rounds}: ${contender.case}, ${contender.label}`);
      const { amount, warmup, timeout } = turns[contender.case];
      done.push(JSON.parse(await processes.run(contender.command(amount, warmup), timeout)));
    }
  }
  return results.map(({ contender: { case: one, label }, rounds: done }) => ({ case: one, label, rounds: done }));
}

async function main({ json, rounds, turns }) {
  const launcher = findProgram(root, "berth-launch");
  const lacking = missing(root);
  if (launcher === undefined) lacking.push("berth-launch is missing, which installs the filter: npm run build");
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const { proxy, why } = socketProxy();
  if (why !== undefined) say(why);
  const programs = compileBind(root);

  await inSession(async ({ machine, folder, processes }) => {
    const contenders = await startBindContenders(processes, programs, { root, launcher, proxy, folder });
    const rows = summariseBind(await measure(processes, contenders, turns, rounds));
    if (json) return console.log(JSON.stringify({ machine, rounds, turns, rows }, null, 2));
    console.log(`${machineLine(machine)}, load ${machine.load.toFixed(2)}\nmedians of ${rounds} rounds\n`);
    console.log(bindTable(rows));
  });
}

const flag = { type: "boolean", default: false };
const options = { quick: flag, json: flag, rounds: { type: "string" } };
await runBench({ name: "bench:bind", usage, options, read, main });
