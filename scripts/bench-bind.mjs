#!/usr/bin/env node
/**
 * `npm run bench:bind`: what bind delivery costs when a server binds, and that it costs nothing afterwards, beside what
 * forwarding costs. One run, one core, taking turns. docs/benchmarks.md says what the figures mean. Never installs,
 * never leaves anything running.
 */
import { startBindContenders } from "../bench/bind-contenders.mjs";
import { startsAsRounds, summariseBind } from "../bench/bind-report.mjs";
import { compileBind, findProgram, missing, socketProxy } from "../bench/build.mjs";
import { publish } from "../bench/results.mjs";
import { inSession, refusePart, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:bind -- [--quick] [--binds] [--rounds N] [--json] [--save]

  --quick      3 rounds of 10 starts, 100 binds, 20000 datagrams and 512 MB, instead of 5 of 40, 400, 100000 and 2048
  --binds      starts and binds only
  --rounds N   how often every contender has its turn
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

/** How much of each is done in a turn, and before it untimed; how long the turn may take in milliseconds. */
function amounts(quick) {
  return {
    start: { amount: quick ? 10 : 40, timeout: 30_000 },
    bind: { amount: quick ? 100 : 400, warmup: 20, timeout: 60_000 },
    udp: { amount: quick ? 20_000 : 100_000, warmup: 2000, timeout: 120_000 },
    tcp: { amount: quick ? 512 : 2048, warmup: 0, timeout: 120_000 },
  };
}

function read({ quick, binds, json, save, rounds = quick ? "3" : "5" }) {
  refusePart(save, "binds", binds);
  return { print: { json, save }, binds, rounds: whole("rounds", rounds, 999), turns: amounts(quick) };
}

/** Starts each server so often, by turns: a lease has ended when the next begins. One round of each contender. */
async function measureStarts(processes, contenders, { amount, timeout }) {
  const rounds = contenders.map((contender) => ({ contender, starts: [] }));
  for (let start = 0; start < amount; start++) {
    for (const { contender, starts } of rounds) {
      starts.push(JSON.parse(await processes.run(contender.command(), timeout)).times);
    }
  }
  return rounds;
}

async function measure(processes, contenders, turns, rounds) {
  const starting = contenders.filter((contender) => contender.case === "start");
  const results = contenders.filter((one) => one.case !== "start").map((contender) => ({ contender, rounds: [] }));
  const started = [];
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}: starts of servers`);
    started.push(await measureStarts(processes, starting, turns.start));
    for (const { contender, rounds: done } of results) {
      say(`round ${round} of ${rounds}: ${contender.case}, ${contender.label}`);
      const { amount, warmup, timeout } = turns[contender.case];
      done.push(JSON.parse(await processes.run(contender.command(amount, warmup), timeout)));
    }
  }
  const others = results.map(({ contender: { case: one, label }, rounds: done }) => ({
    case: one,
    label,
    rounds: done,
  }));
  return [...startsAsRounds(started), ...others];
}

async function main({ print, binds, rounds, turns }) {
  const launcher = findProgram(root, "berth-launch");
  const lacking = missing(root);
  if (launcher === undefined) lacking.push("berth-launch is missing, which installs the filter: npm run build");
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const { proxy, why } = socketProxy();
  if (why !== undefined) say(why);
  const programs = compileBind(root);

  await inSession(async ({ machine, folder, processes }) => {
    const all = await startBindContenders(processes, programs, { launcher, proxy, folder });
    const contenders = binds ? all.filter((one) => ["start", "bind"].includes(one.case)) : all;
    const rows = summariseBind(await measure(processes, contenders, turns, rounds));
    publish("bind", print, { machine, rounds, turns, rows });
  });
}

const flag = { type: "boolean", default: false };
const options = { quick: flag, binds: flag, json: flag, save: flag, rounds: { type: "string" } };
await runBench({ name: "bench:bind", usage, options, read, main });
