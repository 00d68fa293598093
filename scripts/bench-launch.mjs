#!/usr/bin/env node
/**
 * `npm run bench:launch`: how long it takes until many servers serve, each in a berth, beside the same servers started
 * by setpriv, bubblewrap and systemd-run. One run, one core, taking turns. docs/benchmarks.md says what the figures
 * mean. Needs root. Never installs anything, never leaves anything running.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { brokerIn } from "../bench/broker.mjs";
import { compileLaunch, findProgram, missing, onPath } from "../bench/build.mjs";
import { summariseLaunches } from "../bench/launch-report.mjs";
import { publish } from "../bench/results.mjs";
import { inSession, root, runBench, say, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:launch -- [--quick] [--rounds N] [--json] [--save]

  --quick      1 round of 100 servers, instead of 3 of 100, 300 and 1000
  --rounds N   how often every contender has its turn
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

/** Below Linux's range of ports that the kernel gives out (ip(7), ip_local_port_range). */
const FIRST_PORT = 12_000;
const OTHER_PORT = 14_000;
const PARALLEL = 8;
const NOBODY = "65534";
const TIMEOUT = 120_000;
/** The units of this benchmark. Who ends systemd-run leaves its unit running, so they are stopped by their slice. */
const SLICE = `berthdbench${process.pid}.slice`;

function read({ quick, json, save, rounds = quick ? "1" : "3" }) {
  return { print: { json, save }, rounds: whole("rounds", rounds, 99), sizes: quick ? [100] : [100, 300, 1000] };
}

/** Why a contender has to be left out, in one sentence. */
function absent(program, works, why) {
  return onPath(program) && works() ? undefined : `${program} is left out: ${why}`;
}

const succeeds = (command, ...args) => spawnSync(command, args, { timeout: 10_000, stdio: "ignore" }).status === 0;

/**
 * Who launches the server, in the order of the table: `label`, the command line of each, and `end`, the one that ends
 * what outlives it.
 */
function contendersOf({ launcher, socket, server, core }) {
  const own = [server, "{report}", "{index}", "{port}"];
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--no-new-privs"];
  const wrap = ["--dev-bind", "/", "/", "--unshare-user", "--uid", NOBODY, "--gid", NOBODY, "--die-with-parent"];
  // Where the others run. The last one is for a unit that a benchmark which was killed leaves behind.
  const wanted = ["User=nobody", "NoNewPrivileges=yes", `CPUAffinity=${core}`, `RuntimeMaxSec=${TIMEOUT / 1000}`];
  const properties = [`--slice=${SLICE}`, ...wanted.flatMap((property) => ["-p", property])];
  const all = [
    { label: "setpriv", command: ["setpriv", ...user, ...own] },
    { label: "berthd", command: [launcher, "--socket", socket, "s{index}", "--", ...own.slice(0, -1)] },
    {
      label: "bwrap",
      command: ["bwrap", ...wrap, ...own],
      why: absent("bwrap", () => succeeds("bwrap", ...wrap, "true"), "it is missing or cannot make a namespace here"),
    },
    {
      label: "systemd-run",
      command: ["systemd-run", "--quiet", "--wait", "--collect", ...properties, ...own],
      end: ["systemctl", "stop", SLICE],
      why: absent("systemd-run", () => succeeds("systemd-run", "--quiet", "--wait", "true"), "systemd is not running"),
    },
  ];
  for (const { why } of all) if (why !== undefined) say(why);
  return all.filter(({ why }) => why === undefined);
}

function configure(folder, count) {
  mkdirSync(folder);
  for (let index = 0; index < count; index++) {
    const text = `[sockets.game]\nlisten = ["udp://127.0.0.1:${FIRST_PORT + index}"]\n[server]\nuser = "nobody"\n`;
    writeFileSync(join(folder, `s${index}.toml`), text);
  }
}

async function main({ print, rounds, sizes }) {
  if (process.getuid() !== 0) throw new Error("it starts servers as another user: sudo npm run bench:launch");
  const lacking = missing(root);
  const launcher = findProgram(root, "berth-launch");
  if (launcher === undefined) lacking.push("berth-launch is missing: npm run build");
  if (lacking.length > 0) throw new Error(lacking.join("\n"));
  const programs = compileLaunch(root);
  await inSession(async ({ machine, folder, processes }) => {
    const { config, socket, log, command: broker } = brokerIn(folder);
    const server = join(folder, basename(programs.server));
    copyFileSync(programs.server, server);
    chmodSync(folder, 0o711);
    configure(config, sizes.at(-1));
    await processes.serve(broker, socket, log);
    const contenders = contendersOf({ launcher, socket, server, core: machine.core });
    const results = sizes.flatMap((servers) => contenders.map((one) => ({ servers, ...one, rounds: [] })));
    for (let round = 1; round <= rounds; round++) {
      for (const { servers, label, command, end, rounds: done } of results) {
        say(`round ${round} of ${rounds}: ${servers} servers, ${label}`);
        const many = [programs.many, servers, PARALLEL, OTHER_PORT].map(String);
        try {
          done.push(JSON.parse(await processes.run([...many, ...command], TIMEOUT)));
        } finally {
          if (end !== undefined) spawnSync(end[0], end.slice(1), { timeout: TIMEOUT, stdio: "ignore" });
        }
      }
    }
    const rows = summariseLaunches(
      results.map(({ label, servers, rounds }) => ({ servers, contender: label, rounds })),
    );
    publish("launch", print, { machine, rounds, parallel: PARALLEL, rows });
  });
}

const flag = { type: "boolean", default: false };
const options = { quick: flag, json: flag, save: flag, rounds: { type: "string" } };
await runBench({ name: "bench:launch", usage, options, read, main });
