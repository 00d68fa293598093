#!/usr/bin/env node
/**
 * `npm run bench:growth`: how the cost of an acquire grows with the number of descriptors and of clients, beside the
 * floor in C and s6-fdholderd. One run, one core, taking turns. docs/benchmarks.md says what the figures mean. Never
 * installs, never leaves anything running.
 */
import { compile, missing, s6Missing } from "../bench/build.mjs";
import { startContenders } from "../bench/contenders.mjs";
import { Gate } from "../bench/gate.mjs";
import { summariseGrowth } from "../bench/growth-report.mjs";
import { publish } from "../bench/results.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:growth -- [--quick] [--rounds N] [--cycles N] [--json] [--save]

  --quick      3 rounds of 2000 cycles, instead of 5 of 20000
  --rounds N   how often every contender has its turn
  --cycles N   timed calls in a turn, of all clients together
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

const WARMUP = 1000;
const SIZES = [1, 2, 4, 8, 16];
const CLIENTS = [1, 2, 4, 8, 16, 32];
/** Their berths, by the name of the case. A berth has one tenant, and s6 and the floor give one socket to everybody. */
const names = Array.from({ length: CLIENTS.at(-1) }, (_, index) => `c${index}`);

function read({ quick, json, save, rounds = quick ? "3" : "5", cycles = quick ? "2000" : "20000" }) {
  return {
    print: { json, save },
    rounds: whole("rounds", rounds, 999),
    cycles: whole("cycles", cycles, 9_999_999),
  };
}

const hold = (contender, count, cycles, warmup = WARMUP) => contender.command({ mode: "hold", count }, cycles, warmup);

async function turnOfSize({ processes, cycles }, contender, count) {
  const { p50, p99 } = JSON.parse(await processes.run(hold(contender, count, cycles), 60_000));
  return { p50: p50 / 1000, p99: p99 / 1000 };
}

/** Calls a second of so many clients at once, from the moment at which all begin to the last one's end. */
async function turnOfClients({ processes, folder, cycles }, contender, count) {
  const each = Math.max(200, Math.ceil(cycles / count));
  const berth = (index) => (contender.label === "berthd" ? names[index] : 1);
  const gate = new Gate(folder);
  const runs = Array.from({ length: count }, (_, index) =>
    processes.run(["env", `BENCH_GATE=${gate.folder}`, ...hold(contender, berth(index), each, 100)], 60_000),
  );
  const all = Promise.all(runs);
  try {
    const begin = await Promise.race([all, gate.open(count)]);
    const ends = (await all).map((text) => JSON.parse(text).end);
    return { rate: (count * each) / ((Math.max(...ends) - begin) / 1e9) };
  } finally {
    gate.remove();
  }
}

/** A result for each number and contender: what `turn` found in each round. */
async function measure(context, contenders, { at, counts, turn }) {
  const results = counts.flatMap((count) => contenders(count).map((contender) => ({ count, contender, rounds: [] })));
  for (let round = 1; round <= context.rounds; round++) {
    for (const { count, contender, rounds } of results) {
      say(`round ${round} of ${context.rounds}: ${count} ${at}, ${contender.label}`);
      rounds.push(await turn(context, contender, count));
    }
  }
  return results.map(({ count, contender, rounds }) => ({ [at]: count, contender: contender.label, rounds }));
}

async function main({ print, rounds, cycles }) {
  const lacking = missing(root);
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const withoutS6 = s6Missing();
  if (withoutS6 !== undefined) say(withoutS6);
  const programs = compile(root, withoutS6 === undefined);
  await inSession(async ({ machine, folder, processes }) => {
    const { contenders } = await startContenders(processes, programs, folder, { sizes: SIZES, clients: names });
    const context = { processes, folder, rounds, cycles };
    const of = (count) => contenders.filter(({ takesPart }) => takesPart({ mode: "hold", count }));
    const sizes = { at: "descriptors", counts: SIZES, turn: turnOfSize };
    const clients = { at: "clients", counts: CLIENTS, turn: turnOfClients };
    publish("growth", print, {
      machine,
      rounds,
      cycles,
      descriptors: summariseGrowth(
        await measure(context, of, sizes),
        sizes.at,
        ["p50", "p99"],
        (row, floor) => row.p50 / floor.p50,
      ),
      clients: summariseGrowth(
        await measure(context, () => of(1), clients),
        clients.at,
        ["rate"],
        (row, floor) => floor.rate / row.rate,
      ),
    });
  });
}

const flag = { type: "boolean", default: false };
const text = { type: "string" };
const options = { quick: flag, json: flag, save: flag, rounds: text, cycles: text };
await runBench({ name: "bench:growth", usage, options, read, main });
