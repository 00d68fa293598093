#!/usr/bin/env node
/**
 * `npm run bench:scale`: what a broker of many berths takes: its start, a check of its configuration, its memory, and a
 * reload after one berth has changed, with the longest wait of a client that asks for another berth meanwhile.
 * docs/benchmarks.md says what the figures mean. Never installs anything, never leaves anything running.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { brokerIn } from "../bench/broker.mjs";
import { memoryOf } from "../bench/processes.mjs";
import { median } from "../bench/report.mjs";
import { publish } from "../bench/results.mjs";
import { change, configure, nameOf, ways } from "../bench/scale-config.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";
import { Caller } from "../bench/varlink-caller.mjs";

const usage = `Usage: npm run bench:scale -- [--quick] [--reloads N] [--json] [--save]

  --quick      100 and 1000 berths and 4 reloads, instead of 100, 1000, 3000 and 10000 berths and 10 reloads
  --reloads N  how often each broker reloads
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

const CHECK_MS = 60_000;

function read({ quick, json, save, reloads = quick ? "4" : "10" }) {
  return {
    print: { json, save },
    reloads: whole("reloads", reloads, 1000),
    sizes: quick ? [100, 1000] : [100, 1000, 3000, 10_000],
  };
}

/** When the broker said that it serves, in milliseconds since 1970; undefined if it has not yet. */
function readyAt(log, count) {
  const line = /^(\S+) info +ready: (.*)$/m.exec(existsSync(log) ? readFileSync(log, "utf8") : "");
  if (line === null) return undefined;
  if (!line[2].startsWith(`${count} berths, 0 taken, on `)) throw new Error(`the broker says: ${line[2]}`);
  return Date.parse(line[1]);
}

async function measure({ way, count }, { folder: parent, processes, reloads }) {
  say(`${count} berths on ${way}`);
  // A folder for each broker: beside its socket, the one before recorded the lease of this process.
  const folder = join(parent, `${count} ${way}`);
  const { config, socket, log, command } = brokerIn(folder);
  configure(config, way, count);
  const begin = process.hrtime.bigint();
  await processes.run([process.execPath, join(root, "dist/berth/berth.cjs"), "check", config], CHECK_MS);
  const check = Number(process.hrtime.bigint() - begin) / 1e6;
  const started = Date.now();
  const pid = await processes.serve(command, () => readyAt(log, count) !== undefined, log);
  const start = readyAt(log, count) - started;
  const memory = memoryOf(pid);
  const [operator, tenant] = [await Caller.open(socket), await Caller.open(socket)];
  const times = [];
  const waits = [];
  const reload = async () => times.push((await operator.call("Reload")).ms);
  for (let turn = 0; turn < reloads; turn++) {
    change(config, way, count, turn % 2 === 1);
    waits.push(...(await tenant.during(reload, "Acquire", { berth: nameOf(0) })));
  }
  const after = memoryOf(pid);
  operator.close();
  tenant.close();
  await processes.stop();
  rmSync(folder, { recursive: true });
  return { way, berths: count, start, check, memory, reload: median(times), stall: Math.max(...waits), after };
}

async function main({ print, reloads, sizes }) {
  await inSession(async ({ machine, folder, processes }) => {
    const rows = [];
    for (const count of sizes)
      for (const way of Object.keys(ways)) rows.push(await measure({ way, count }, { folder, processes, reloads }));
    publish("scale", print, { machine, reloads, rows });
  });
}

const flag = { type: "boolean", default: false };
const options = { quick: flag, json: flag, save: flag, reloads: { type: "string" } };
await runBench({ name: "bench:scale", usage, options, read, main });
