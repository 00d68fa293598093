#!/usr/bin/env node
/**
 * `npm run bench:web`: what open status pages cost the broker: how long an acquire takes while berth-web watches it for
 * so many pages, beside the same without berth-web. Both by turns in one run, while another berth is taken and given
 * back. docs/benchmarks.md says what the figures mean. Never installs anything, never leaves anything running.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { brokerIn } from "../bench/broker.mjs";
import { memoryOf } from "../bench/processes.mjs";
import { publish } from "../bench/results.mjs";
import { configure, nameOf } from "../bench/scale-config.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";
import { Caller } from "../bench/varlink-caller.mjs";
import { summariseTurns } from "../bench/web-report.mjs";

const usage = `Usage: npm run bench:web -- [--quick] [--berths N] [--pages N] [--rounds N] [--json] [--save]

  --quick      3 rounds instead of 10
  --berths N   berths of the broker (default: 500)
  --pages N    open pages (default: 50)
  --rounds N   how often each of the two has its turn, of 5 seconds
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

const TURN_MS = 5000;
/** Twenty times a second another berth is taken and given back: pages have something to show. */
const CHANGE_MS = 50;
const READY_MS = 15_000;

function read({ quick, json, save, berths = "500", pages = "50", rounds = quick ? "3" : "10" }) {
  return {
    print: { json, save },
    berths: whole("berths", berths, 10_000),
    pages: whole("pages", pages, 128), // as many as berth-web gives one address
    rounds: whole("rounds", rounds, 999),
  };
}

/** berth-web on the other cores, with its pages. Resolves with what ends both, and says how much memory it took. */
async function openPages({ folder, processes, socket, others }, count) {
  const log = join(folder, "web.log");
  const said = () => (existsSync(log) ? readFileSync(log, "utf8") : "");
  const before = said().length;
  const port = () => /listening on \S*:(\d+)/.exec(said().slice(before))?.[1];
  const program = join(root, "packages/web/dist/server/main.js");
  const command = ["taskset", "-c", others, process.execPath, program, "--socket", socket, "--listen", "127.0.0.1:0"];
  const pid = await processes.serve(command, () => port() !== undefined, log);
  const pages = ["taskset", "-c", others, process.execPath, join(root, "bench/web-pages.mjs"), port(), String(count)];
  const pagesLog = join(folder, `pages-${pid}.log`);
  const pagesPid = await processes.serve(pages, () => readFileSync(pagesLog, "utf8").includes("open"), pagesLog);
  return async () => {
    const memory = memoryOf(pid, "VmHWM");
    for (const one of [pagesPid, pid]) {
      if (!existsSync(`/proc/${one}`)) throw new Error("berth-web or a page has ended");
      process.kill(one, "SIGTERM");
      for (const end = Date.now() + READY_MS; existsSync(`/proc/${one}`); await delay(10))
        if (Date.now() > end) throw new Error("berth-web or a page does not end");
    }
    const changes = Number(/^changes (\d+)$/m.exec(readFileSync(pagesLog, "utf8"))?.[1]);
    if (!(changes > count)) throw new Error("the pages were shown no changes");
    return memory;
  };
}

/** Milliseconds of each acquire in one turn. */
async function turn(tenant, other) {
  const change = async () => {
    for (const end = performance.now() + TURN_MS; performance.now() < end; await delay(CHANGE_MS)) {
      const { parameters } = await other.call("Acquire", { berth: nameOf(1) });
      await other.call("Release", { lease: parameters.lease });
    }
  };
  return await tenant.during(change, "Acquire", { berth: nameOf(0) });
}

async function main({ print, berths, pages, rounds }) {
  await inSession(async ({ machine, folder, processes }) => {
    const { config, socket, log, command } = brokerIn(folder);
    configure(config, "different ports", berths);
    await processes.serve(command, socket, log);
    const [tenant, other] = [await Caller.open(socket), await Caller.open(socket)];
    const others = machine.core === 0 ? "0" : `0-${machine.core - 1}`;
    await turn(tenant, other);
    const times = { none: [], open: [] };
    const memories = [];
    for (let round = 1; round <= rounds; round++) {
      say(`round ${round} of ${rounds}`);
      times.none.push(await turn(tenant, other));
      const close = await openPages({ folder, processes, socket, others }, pages);
      times.open.push(await turn(tenant, other));
      memories.push(await close());
    }
    tenant.close();
    other.close();
    const rows = [
      { pages: 0, ...summariseTurns(times.none) },
      { pages, ...summariseTurns(times.open), memory: Math.max(...memories) },
    ].map((row, _, [{ p50, p99 }]) => ({ ...row, ratio: row.p50 / p50, p99Ratio: row.p99 / p99 }));
    publish("web", print, { machine, berths, rounds, rows });
  });
}

const flag = { type: "boolean", default: false };
const text = { type: "string" };
const options = { quick: flag, json: flag, save: flag, berths: text, pages: text, rounds: text };
await runBench({ name: "bench:web", usage, options, read, main });
