/** The rounds of `npm run fleet:rounds`, in a world. */
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdClient, Fault, Fleet, Keys } from "../../packages/fleet/dist/index.js";
import { check } from "./check.mjs";
import { faults, randomOf } from "./faults.mjs";
import { History } from "./history.mjs";
import { Host } from "./host.mjs";
import { raceForMany } from "./many.mjs";
import { startMembers } from "./member.mjs";
import { makeSwitch, Node } from "./network.mjs";
import { operate, rest, setsFor } from "./operators.mjs";
import { worldFolder } from "./world.mjs";

const MARGIN_S = 1;
const OPERATORS = 3;

/** Resolves with the exit status: 1 if something was wrong. */
export async function runRounds({ rounds, seed, ttl, berths, allocations, keep }) {
  makeSwitch();
  const nodes = (letter, count, first) =>
    Promise.all(Array.from({ length: count }, (_, at) => new Node(`${letter}${at + 1}`, first + at).open()));
  const members = await startMembers(await nodes("e", 3, 1), worldFolder, { isSmall: true });
  const endpoints = members.map(({ endpoint }) => endpoint);
  const keys = new Keys();
  const client = new EtcdClient(endpoints);
  const history = new History(worldFolder, client, keys);
  const stopFollowing = new AbortController();
  const following = history.followHosts(stopFollowing.signal);
  const etcd = endpoints.flatMap((endpoint) => ["--etcd", endpoint]);
  const options = [...etcd, "--ports", "27000-27019", "--ttl", String(ttl), "--margin", String(MARGIN_S)];
  const hosts = (await nodes("h", 5, 11)).map(
    (node) => new Host(node, worldFolder, options, history.environment(node.name)),
  );
  await Promise.all(hosts.map((host) => host.start()));
  const world = { members, hosts, client, keys, history, endpoints, sets: setsFor(history), ttl };
  await rest(world);
  const raced = await raceForMany({ endpoints, berths, allocations });
  await loseHost(world);
  const total = { done: 0, refused: 0 };
  for (let round = seed; round < seed + rounds; round++) await runRound(world, round, total);
  stopFollowing.abort();
  await following;
  const events = await history.read();
  if (keep !== undefined) writeFileSync(keep, events.map((one) => `${JSON.stringify(one)}\n`).join(""));
  const { wrong: found, counts } = check(events);
  const wrong = [...raced, ...found];
  for (const sentence of wrong) console.log(`wrong: ${sentence}`);
  console.log(
    `${rounds} rounds: ${counts.placements} placements, ${counts.allocations} allocations, ${counts.starts} starts, ` +
      `${total.done} calls of operators done and ${total.refused} refused, ${counts.revisions} revisions: ` +
      `${wrong.length} wrong`,
  );
  return wrong.length > 0 ? 1 : 0;
}

async function runRound(world, round, total) {
  const random = randomOf(round);
  const names = Object.keys(faults);
  const name = names[(round - 1) % names.length];
  const clients = Array.from({ length: OPERATORS }, () => new EtcdClient(world.endpoints));
  let isOver = false;
  const stopped = () => isOver;
  const counts = { done: 0, refused: 0 };
  const operating = clients.map((client) => operate({ ...world, client, random, stopped, counts }));
  await sleep(random() * 1_000);
  const record = (event) => world.history.record(event);
  const undo = await faults[name]({ ...world, random, record, stopped });
  await sleep((world.ttl + MARGIN_S + 1.5 * random()) * 1_000);
  await undo();
  isOver = true;
  await Promise.all(operating);
  for (const client of clients) client[Symbol.dispose]();
  const since = performance.now();
  await rest(world);
  total.done += counts.done;
  total.refused += counts.refused;
  const seconds = ((performance.now() - since) / 1_000).toFixed(1);
  console.log(`round ${round}: ${name}; ${counts.done} calls done, ${counts.refused} refused; at rest in ${seconds} s`);
}

/** A host is killed: its `replace` berths serve elsewhere, and its `stay` berths do not. */
async function loseHost({ members: _, hosts, client, keys, sets, history, ttl, ...world }) {
  const fleet = new Fleet(client, keys);
  const [host] = hosts;
  const placed = async () => [...(await fleet.view()).placements.values()].map(({ record }) => record);
  const before = (await placed()).filter((one) => one.host === host.name);
  await host.kill();
  history.record({ kind: "killed", host: host.name, ms: Date.now() });
  const since = performance.now();
  const elsewhere = async () => {
    try {
      const { lists } = await client.read({ prefix: keys.all("state") });
      const serving = lists[0].map(({ value }) => JSON.parse(value)).filter(({ state }) => state === "occupied");
      const isServed = ({ berth, generation }) =>
        serving.some((one) => one.berth === berth && one.generation === generation);
      return (await placed())
        .filter(({ onLost }) => onLost === "replace")
        .every((one) => one.host !== host.name && isServed(one));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return false;
    }
  };
  while (!(await elsewhere())) {
    if (performance.now() - since > 120_000) throw new Error(`the berths of ${host.name} do not serve elsewhere`);
    await sleep(50);
  }
  const seconds = ((performance.now() - since) / 1_000).toFixed(1);
  const now = (await placed()).filter((one) => one.host === host.name);
  const stayed = before.filter(({ onLost }) => onLost === "stay");
  if (now.map(({ berth }) => berth).join() !== stayed.map(({ berth }) => berth).join())
    throw new Error(`${host.name} has ${now.map(({ berth }) => berth)}; only its staying berths were to stay`);
  console.log(
    `a host killed: ${before.length - stayed.length} berths serve elsewhere after ${seconds} s ` +
      `(lease ${ttl} s, margin ${MARGIN_S} s), ${stayed.length} stay`,
  );
  await host.start();
  await rest({ ...world, client, keys, sets, hosts });
}
