/** What `npm run demo:fleet` shows, in a world: the commands of docs/fleet.md, and what they print. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { berthFleet, Host } from "./host.mjs";
import { startMembers } from "./member.mjs";
import { makeSwitch, Node } from "./network.mjs";
import { worldFolder } from "./world.mjs";

const TTL_S = 4;
const MARGIN_S = 1;
/** How long the fleet may take to serve what is placed, in milliseconds: the machine may be busy. */
const PATIENCE_MS = 120_000;

const SET = `name = "arena"
count = 4
on-lost = "replace"

[berth.sockets.game]
listen = ["udp://0.0.0.0:0"]

[berth.server]
command = ["sleep", "infinity"]
user = "root"
`;

export async function show() {
  makeSwitch();
  const member = await new Node("e1", 1).open();
  const [etcd] = await startMembers([member], worldFolder);
  const options = ["--etcd", etcd.endpoint, "--ports", "27000-27099"];
  const times = ["--ttl", String(TTL_S), "--margin", String(MARGIN_S)];
  const nodes = await Promise.all([1, 2, 3].map((number) => new Node(`h${number}`, 10 + number).open()));
  const hosts = nodes.map((node) => new Host(node, worldFolder, [...options, ...times]));
  await Promise.all(hosts.map((host) => host.start()));
  const fleet = (...args) =>
    execFileSync(process.execPath, [berthFleet, ...args, "--etcd", etcd.endpoint], {
      cwd: worldFolder,
      encoding: "utf8",
    });
  const shown = (...args) => {
    console.log(`$ berth-fleet ${args.join(" ")}`);
    console.log(fleet(...args));
  };

  console.log("An etcd and three hosts run, each in a network namespace.\n");
  shown("ls", "hosts");
  writeFileSync(join(worldFolder, "arena.toml"), SET);
  console.log(`$ cat arena.toml\n${SET}`);
  shown("apply", "arena.toml");
  await untilServed(fleet, hosts);
  shown("ls");
  shown("allocate", "arena");

  console.log(
    `Host h2 loses its power. Its lease ends after ${TTL_S} s; ${MARGIN_S} s later its berths go elsewhere.\n`,
  );
  await hosts[1].kill();
  const since = performance.now();
  await untilServed(fleet, [hosts[0], hosts[2]]);
  shown("ls");
  console.log(
    `All four serve again, ${((performance.now() - since) / 1000).toFixed(1)} s after h2 was killed. h2 comes back:\n`,
  );
  await hosts[1].start();
  shown("ls", "hosts");
  shown("rm", "arena");
}

/** All berths serve, and only on these hosts. */
async function untilServed(fleet, hosts) {
  const names = hosts.map(({ name }) => name);
  const late = performance.now() + PATIENCE_MS;
  for (
    let rows = [];
    rows.length < 4 || rows.some(({ state, host }) => state !== "occupied" || !names.includes(host));
  ) {
    if (performance.now() > late) throw new Error(`not all berths serve: ${JSON.stringify(rows)}`);
    await sleep(200);
    rows = JSON.parse(fleet("ls", "--json"));
  }
}
