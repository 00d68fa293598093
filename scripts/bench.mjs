#!/usr/bin/env node
/**
 * `npm run bench`: how much berthd costs beside the least that C can do, and beside s6-fdholderd. Everything in one
 * run, on one core, taking turns. docs/benchmarks.md says what the figures mean. Never installs, never leaves anything
 * running.
 */
import { compile, missing, s6Missing } from "../bench/build.mjs";
import { cases, startContenders } from "../bench/contenders.mjs";
import { judge, summarise } from "../bench/report.mjs";
import { publish } from "../bench/results.mjs";
import { inSession, refusePart, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench -- [--quick] [--rounds N] [--cycles N] [--only OPERATION] [--json] [--save]

  --quick      3 rounds of 10000 cycles, instead of 5 of 100000
  --rounds N   how often every contender has its turn
  --cycles N   timed calls in a turn; the longer operations do a fifth of them
  --only OP    hold, lease, connect or crowd alone; npm run bench:lease is bench -- --only lease
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

/** Of each operation, calls before those that are timed, and how many times fewer cycles than `--cycles` it does. */
const WARMUP = { hold: 5000, lease: 2000, connect: 2000, crowd: 20 };
const FEWER = { hold: 1, lease: 5, connect: 5, crowd: 500 };

function read({ quick, json, save, only, rounds = quick ? "3" : "5", cycles = quick ? "10000" : "100000" }) {
  if (only !== undefined && WARMUP[only] === undefined)
    throw new Error(`--only is "${only}"; it takes one of ${Object.keys(WARMUP).join(", ")}`);
  refusePart(save, "only", only !== undefined);
  return {
    print: { json, save },
    chosen: cases.filter(({ mode }) => only === undefined || mode === only),
    rounds: whole("rounds", rounds, 999),
    cycles: whole("cycles", cycles, 99_999_999),
  };
}

async function measure(processes, contenders, { chosen, rounds, cycles }) {
  const results = chosen.flatMap((one) =>
    contenders.filter(({ takesPart }) => takesPart(one)).map((contender) => ({ case: one, contender, rounds: [] })),
  );
  for (let round = 1; round <= rounds; round++) {
    for (const { case: one, contender, rounds: done } of results) {
      say(`round ${round} of ${rounds}: ${one.mode}, ${one.count} fd, ${contender.label}`);
      const count = Math.ceil(cycles / FEWER[one.mode]);
      const warmup = WARMUP[one.mode];
      const timeout = 30_000 + cycles + warmup; // a millisecond for each call is many times what the slowest takes
      done.push(JSON.parse(await processes.run(contender.command(one, count, warmup), timeout)));
    }
  }
  return results.map(({ case: one, contender, rounds: done }) => ({ case: one, label: contender.label, rounds: done }));
}

async function main({ print, chosen, rounds, cycles }) {
  const lacking = missing(root);
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const withoutS6 = s6Missing();
  if (withoutS6 !== undefined) say(withoutS6);
  const programs = compile(root, withoutS6 === undefined);

  await inSession(async ({ machine, folder, processes }) => {
    const { contenders, replyBytes } = await startContenders(processes, programs, folder);
    const rows = summarise(await measure(processes, contenders, { chosen, rounds, cycles }));
    const target = judge(rows);
    publish("calls", print, { machine, rounds, cycles, replyBytes, rows, target });
  });
}

const flag = { type: "boolean", default: false };
const options = {
  quick: flag,
  json: flag,
  save: flag,
  only: { type: "string" },
  rounds: { type: "string" },
  cycles: { type: "string" },
};
await runBench({ name: "bench", usage, options, read, main });
