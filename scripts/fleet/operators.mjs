/** Operators and matchmakers who use a fleet at the same time, at random; and how a fleet comes to rest. */
import { setTimeout as sleep } from "node:timers/promises";
import { allocate, berthSet, Fault, Fleet, release } from "../../packages/fleet/dist/index.js";
import { pick } from "./faults.mjs";

/** How long a fleet may take to serve all that is wanted, in milliseconds: the machine may be busy. */
const REST_MS = 180_000;

export function setsFor(history) {
  const make = (name, count, onLost) => berthSet({ name, count, "on-lost": onLost, berth: history.berth }, name);
  return [make("moving", 6, "replace"), make("staying", 5, "stay")];
}

/** Until `stopped()`. What fails because etcd does not answer, or because others were first, is left. */
export async function operate({ client, keys, sets, random, history, stopped, counts }) {
  const fleet = new Fleet(client, keys);
  const mine = [];
  const act = async () => {
    const [set] = pick(sets, 1, random);
    const chance = random();
    if (chance < 0.5) {
      const { berth, generation } = await allocate(client, keys, set.name);
      history.record({ kind: "allocated", berth, generation });
      mine.push(berth);
    } else if (chance < 0.75) {
      const berth = mine.pop();
      if (berth !== undefined) await release(client, keys, berth);
    } else if (chance < 0.9) await fleet.place(set.name);
    else if (chance < 0.97) await fleet.apply({ ...set, count: Math.ceil(random() * set.count) });
    else await fleet.remove(set.name);
  };
  while (!stopped()) {
    try {
      await act();
      counts.done++;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      counts.refused++;
    }
    await sleep(50 + random() * 300);
  }
}

/** Everything that is wanted is served, once, on the hosts that etcd says. Throws what is not. */
export async function rest({ client, keys, sets, hosts }) {
  const fleet = new Fleet(client, keys);
  const deadline = performance.now() + REST_MS;
  for (let why = ""; ; await sleep(200)) {
    if (performance.now() > deadline) {
      const logs = hosts.map(({ name, agent }) => `${name}: ${agent.log.slice(-2_000)}`).join("\n");
      throw new Error(`the fleet does not come to rest: ${why}\n${logs}`);
    }
    try {
      why = (await unrest(fleet, client, keys, sets, hosts)) ?? "";
      if (why === "") return;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      why = error.message;
    }
  }
}

async function unrest(fleet, client, keys, sets, hosts) {
  const ended = hosts.find(({ agent }) => !agent.runs);
  if (ended !== undefined) throw new Error(`the agent of ${ended.name} has ended:\n${ended.agent.log.slice(-4_000)}`);
  const view = await fleet.view();
  const gone = hosts.find(({ name }) => !view.hosts.has(name));
  if (gone !== undefined) return `${gone.name} has no lease`;
  for (const set of sets) {
    const placed = [...view.placements.values()].filter(({ record }) => record.set === set.name).length;
    if (view.sets.get(set.name)?.record.count !== set.count || placed !== set.count) {
      await fleet.apply(set);
      return `${placed} of ${set.name} are placed`;
    }
  }
  const { lists } = await client.read({ prefix: keys.all("state") });
  const reports = lists[0].map(({ value }) => JSON.parse(value));
  for (const { record } of view.placements.values()) {
    const { berth, host, generation } = record;
    const report = reports.find((one) => one.berth === berth && one.generation === generation);
    if (report?.state !== "occupied") return `${berth} on ${host} is ${report?.state}: ${report?.why}`;
  }
  for (const host of hosts) {
    const served = (await host.berths()).map(({ name }) => name).sort();
    const placed = [...view.placements.values()].filter(({ record }) => record.host === host.name);
    const wanted = placed.map(({ record }) => record.berth).sort();
    if (served.join() !== wanted.join()) return `${host.name} serves ${served}, and not ${wanted}`;
  }
  return undefined;
}
