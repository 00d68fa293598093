#!/usr/bin/env node
/**
 * `npm run bench:endure`: whether a broker stays as it is over a day of leases: its memory, its descriptors, and how
 * long an acquire and its release take. docs/benchmarks.md says what the figures mean. Needs no privilege. Never
 * installs anything, never leaves anything running.
 */
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { compileClient, missing } from "../bench/build.mjs";
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

/** MiB of memory that a process has now, and how many descriptors. */
function sizeOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return {
    memory: Number(/^VmRSS:\s*(\d+) kB/m.exec(status)[1]) / 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

async function main({ print, leases }) {
  const lacking = missing(root);
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const client = compileClient(root);
  await inSession(async ({ machine, folder, processes }) => {
    const [config, state, socket] = ["config", "state", "broker.sock"].map((name) => join(folder, name));
    mkdirSync(config);
    const port = await freePort();
    const server = process.getuid() === 0 ? '[server]\nuser = "nobody"\n' : "";
    writeFileSync(join(config, "lobby.toml"), `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n${server}`);
    const program = join(root, "dist/cli/berthd.js");
    const broker = [process.execPath, program, "--config", config, "--state", state, "--socket", socket];
    const pid = await processes.serve(broker, socket, join(folder, "broker.log"));
    const each = Math.ceil(leases / PARTS);
    const rows = [];
    for (let part = 1; part <= PARTS; part++) {
      say(`part ${part} of ${PARTS}`);
      const command = [client, socket, "lobby", "lease", String(each), "100", `tcp:${port}`];
      const { p50, p99 } = JSON.parse(await processes.run(command, TIMEOUT));
      rows.push({ leases: part * each, p50: p50 / 1000, p99: p99 / 1000, ...sizeOf(pid) });
    }
    publish("endure", print, { machine, rows });
  });
}

const flag = { type: "boolean", default: false };
const options = { json: flag, save: flag, leases: { type: "string" } };
await runBench({ name: "bench:endure", usage, options, read, main });
