#!/usr/bin/env node
/**
 * `npm run bench`: how much berthd costs beside the least that C can do, and beside s6-fdholderd. Everything in one run,
 * on one core, taking turns. docs/benchmarks.md says what the figures mean. Never installs, never leaves anything running.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compile, missing, s6Missing } from "../bench/build.mjs";
import { cases, startContenders } from "../bench/contenders.mjs";
import { describeMachine } from "../bench/machine.mjs";
import { Processes } from "../bench/processes.mjs";
import { judge, machineLine, summarise, table, verdict } from "../bench/report.mjs";

const root = join(import.meta.dirname, "..");
const usage = `Usage: npm run bench -- [--quick] [--rounds N] [--cycles N] [--json]

  --quick      3 rounds of 10000 cycles, instead of 5 of 100000
  --rounds N   how often every contender has its turn
  --cycles N   timed calls in a turn; connect + acquire + close does a fifth of them
  --json       print JSON instead of the table`;

const WARMUP = { hold: 5000, connect: 2000 };
const say = (text) => process.stderr.write(`${text}\n`);

function options() {
  const whole = (name, text) => {
    if (!/^[1-9]\d{0,7}$/.test(text)) throw new Error(`--${name} is "${text}"; it takes a whole number from 1`);
    return Number(text);
  };
  try {
    const flag = { type: "boolean", default: false };
    const { values } = parseArgs({
      options: { quick: flag, json: flag, help: flag, rounds: { type: "string" }, cycles: { type: "string" } },
    });
    const { quick, json, help, rounds, cycles } = values;
    return {
      json,
      help,
      rounds: rounds === undefined ? (quick ? 3 : 5) : whole("rounds", rounds),
      cycles: cycles === undefined ? (quick ? 10_000 : 100_000) : whole("cycles", cycles),
    };
  } catch (error) {
    say(`${error.message}\n\n${usage}`);
    process.exit(100);
  }
}

async function measure(processes, contenders, { rounds, cycles }) {
  const results = cases.flatMap((one) =>
    contenders.filter(({ takesPart }) => takesPart(one)).map((contender) => ({ case: one, contender, rounds: [] })),
  );
  for (let round = 1; round <= rounds; round++) {
    for (const { case: one, contender, rounds: done } of results) {
      say(`round ${round} of ${rounds}: ${one.mode}, ${one.count} fd, ${contender.label}`);
      const count = one.mode === "hold" ? cycles : Math.ceil(cycles / 5);
      const warmup = WARMUP[one.mode];
      const timeout = 30_000 + count + warmup; // a millisecond for each call is many times what the slowest takes
      done.push(JSON.parse(await processes.run(contender.command(one, count, warmup), timeout)));
    }
  }
  return results.map(({ case: one, contender, rounds: done }) => ({ case: one, label: contender.label, rounds: done }));
}

async function main({ json, rounds, cycles }) {
  const lacking = missing(root);
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const withoutS6 = s6Missing();
  if (withoutS6 !== undefined) say(withoutS6);
  const programs = compile(root, withoutS6 === undefined);

  const stopping = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
  }
  const machine = describeMachine();
  const folder = mkdtempSync(join(tmpdir(), "berthd-bench-"));
  const processes = new Processes(machine.core, stopping.signal);
  try {
    const { contenders, replyBytes } = await startContenders(processes, programs, root, folder);
    const rows = summarise(await measure(processes, contenders, { rounds, cycles }));
    const target = judge(rows);
    if (json) {
      console.log(JSON.stringify({ machine, rounds, cycles, replyBytes, rows, target }, null, 2));
      return;
    }
    const replies = Object.entries(replyBytes).map(([count, bytes]) => `${bytes} bytes with ${count} fd`);
    console.log(machineLine(machine));
    console.log(`medians of ${rounds} rounds; replies of floor and berthd: ${replies.join(", ")}\n`);
    console.log(`${table(rows)}\n`);
    console.log(verdict(target));
  } finally {
    await processes.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

const chosen = options();
if (chosen.help) {
  console.log(usage);
} else {
  await main(chosen).catch((error) => {
    say(`bench: ${error.message}`);
    process.exitCode = 1;
  });
}
