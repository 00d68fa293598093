#!/usr/bin/env node
/**
 * `npm run bench:fleet`: what a fleet of many hosts takes, with a real etcd of one member and hosts that exist only
 * there: keys and bytes, placements a second, how late a watch is, keep-alives a second, and the memory of one real
 * agent. docs/benchmarks.md says what the figures mean. Never installs anything, never leaves anything running.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fillFleet, measureFleet } from "../bench/fleet-simulation.mjs";
import { memoryOf } from "../bench/processes.mjs";
import { publish } from "../bench/results.mjs";
import { inSession, root, runBench, say } from "../bench/session.mjs";

const usage = `Usage: npm run bench:fleet -- [--quick] [--json] [--save]

  --quick      10 and 100 hosts instead of 10, 100 and 1000; each has 100 berths
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

const BERTHS = 100;
const PORT = 23_790;

function read({ quick, json, save }) {
  return { print: { json, save }, sizes: quick ? [10, 100] : [10, 100, 1000] };
}

async function measure(hosts, { folder: parent, processes }) {
  const { EtcdClient, Keys } = await import("../packages/fleet/dist/index.js");
  const folder = join(parent, String(hosts));
  mkdirSync(folder);
  const [url, peer] = [PORT, PORT + 1].map((port) => `http://127.0.0.1:${port}`);
  const etcd = await processes.serve(
    [
      ...["etcd", "--data-dir", join(folder, "data"), "--quota-backend-bytes", String(8 * 2 ** 30)],
      ...["--listen-client-urls", url, "--advertise-client-urls", url, "--name", "bench"],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `bench=${peer}`],
    ],
    async () => (await fetch(`${url}/health`).catch(() => undefined))?.ok === true,
    join(folder, "etcd.log"),
  );
  const clients = Array.from({ length: 8 }, () => new EtcdClient([url]));
  const keys = new Keys();
  try {
    const leases = await fillFleet(clients, keys, hosts, BERTHS);
    const figures = await measureFleet(clients, keys, leases);
    const log = join(folder, "agent.log");
    const agent = [join(root, "packages/fleet/dist/cli/main.js"), "agent", "--folder", join(folder, "berths")];
    const options = ["--etcd", url, "--insecure", "--name", "real", "--socket", join(folder, "none.sock")];
    const pid = await processes.serve([process.execPath, ...agent, ...options], () => isLeased(log), log);
    return { hosts, berths: hosts * BERTHS, ...figures, agent: await steadyMemory(pid), etcd: memoryOf(etcd) };
  } finally {
    for (const client of clients) client[Symbol.dispose]();
    await processes.stop();
  }
}

const isLeased = (log) => existsSync(log) && readFileSync(log, "utf8").includes("the lease is held");

/** MiB that an agent has had at most, once it has read the fleet: when that has not grown for some seconds. */
async function steadyMemory(pid) {
  let most = 0;
  for (let still = 0; still < 5; still++) {
    await sleep(1_000);
    const now = memoryOf(pid, "VmHWM");
    if (now > most) still = 0;
    most = now;
  }
  return most;
}

async function main({ print, sizes }) {
  await inSession(async ({ machine, ...session }) => {
    const rows = [];
    for (const hosts of sizes) {
      say(`${hosts} hosts with ${BERTHS} berths each`);
      rows.push(await measure(hosts, session));
    }
    publish("fleet", print, { machine, rows });
  });
}

const flag = { type: "boolean", default: false };
await runBench({ name: "bench:fleet", usage, options: { quick: flag, json: flag, save: flag }, read, main });
