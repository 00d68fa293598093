#!/usr/bin/env node
/**
 * `npm run bench:endure`: whether a broker stays as it is over a day of leases: its memory, its descriptors, and how
 * long an acquire and its release take. docs/benchmarks.md says what the figures mean. Needs no privilege. Never
 * installs anything, never leaves anything running.
 */
import { once } from "node:events";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { brokerIn } from "../bench/broker.mjs";
import { compileClient, missing } from "../bench/build.mjs";
import { memoryOf } from "../bench/processes.mjs";
import { publish } from "../bench/results.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:endure -- [--leases N] [--json] [--save]

  --leases N   how many leases: 2000000 if not given, as of a busy broker in 24 hours
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

const PARTS = 20;
const TIMEOUT = 1_800_000;

function read({ json, save, leases = "2000000" }) {
  return { print: { json, save }, leases: whole("leases", leases, 100_000_000) };
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

async function main({ print, leases }) {
  const lacking = missing(root);
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const client = compileClient(root);
  await inSession(async ({ machine, folder, processes }) => {
    const { config, socket, log, command: broker } = brokerIn(folder);
    mkdirSync(config);
    const port = await freePort();
    const server = process.getuid() === 0 ? '[server]\nuser = "nobody"\n' : "";
    writeFileSync(join(config, "lobby.toml"), `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n${server}`);
    const pid = await processes.serve(broker, socket, log);
    const each = Math.ceil(leases / PARTS);
    const rows = [];
    for (let part = 1; part <= PARTS; part++) {
      say(`part ${part} of ${PARTS}`);
      const command = [client, socket, "lobby", "lease", String(each), "100", `tcp:${port}`];
      const { p50, p99 } = JSON.parse(await processes.run(command, TIMEOUT));
      rows.push({
        leases: part * each,
        p50: p50 / 1000,
        p99: p99 / 1000,
        memory: memoryOf(pid),
        descriptors: readdirSync(`/proc/${pid}/fd`).length,
      });
    }
    publish("endure", print, { machine, rows });
  });
}

const flag = { type: "boolean", default: false };
const options = { json: flag, save: flag, leases: { type: "string" } };
await runBench({ name: "bench:endure", usage, options, read, main });
