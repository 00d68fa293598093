/** Many berths placed, and many allocations made, by clients that race; on hosts that exist only in etcd. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  allocate,
  berthSet,
  EtcdClient,
  Fleet,
  hostRecord,
  Keys,
  writeBerthSet,
} from "../../packages/fleet/dist/index.js";
import { check } from "./check.mjs";
import { History } from "./history.mjs";
import { worldFolder } from "./world.mjs";

const CLIENTS = 8;
const HOSTS = 5;

/** Resolves with what was wrong. Prints what was done. */
export async function raceForMany({ endpoints, berths, allocations }) {
  const keys = new Keys("/many/");
  const clients = Array.from({ length: CLIENTS }, () => new EtcdClient(endpoints));
  const [client] = clients;
  mkdirSync(join(worldFolder, "many"));
  const history = new History(join(worldFolder, "many"), client, keys);
  for (let number = 1; number <= HOSTS; number++) await addHost(client, keys, `h${number}`, berths);
  const set = berthSet({ name: "arena", count: berths, berth: history.berth }, "arena");
  await client.commit([], [{ put: keys.of({ kind: "set", set: "arena" }), value: writeBerthSet(set) }]);

  const begin = performance.now();
  const outcomes = (await Promise.all(clients.map((one) => new Fleet(one, keys).place("arena")))).flat();
  const placed = outcomes.filter(({ explanation }) => explanation.host !== undefined).length;
  const placing = (performance.now() - begin) / 1_000;
  const wrong = placed === berths ? [] : [`${placed} placements were made, and ${berths} were wanted`];

  const { placements } = await new Fleet(client, keys).view();
  const servers = new Map();
  const serve = async (one, { berth, host, generation }) => {
    const server = `server-${(servers.get(berth) ?? 0) + 1}`;
    const report = { berth, generation, state: "occupied", server };
    await one.commit([], [{ put: keys.of({ kind: "state", host, berth }), value: JSON.stringify(report) }]);
    servers.set(berth, Number(server.slice("server-".length)));
  };
  await Promise.all([...placements.values()].map(({ record }) => serve(client, record)));
  const since = performance.now();
  const given = new Set();
  let left = allocations;
  const lane = async (one) => {
    while (left-- > 0) {
      const allocated = await allocate(one, keys, "arena");
      const { berth } = allocated;
      const which = `${berth} of server ${servers.get(berth)}`;
      if (given.has(which)) wrong.push(`${which} was allocated twice`);
      given.add(which);
      history.record({ kind: "allocated", berth, generation: allocated.generation });
      // The match is over: the berth has another server.
      await serve(one, allocated);
    }
  };
  await Promise.all(clients.map(lane));
  const allocating = (performance.now() - since) / 1_000;
  const checked = check(await history.read());
  for (const one of clients) one[Symbol.dispose]();
  console.log(
    `${placed} berths placed by ${CLIENTS} clients in ${placing.toFixed(1)} s, and ${given.size} allocations in ` +
      `${allocating.toFixed(1)} s, by ${CLIENTS} clients that race: ${wrong.length + checked.wrong.length} wrong`,
  );
  return [...wrong, ...checked.wrong];
}

async function addHost(client, keys, name, berths) {
  const pools = [{ first: 27_000, last: 27_000 + Math.ceil(berths / HOSTS) - 1 }];
  const usual = { addresses: [`${name}.example.org`], cores: 2, memory: 0, bootId: "boot", version: "0.1.0" };
  const record = hostRecord({ name, pools, ...usual }, name);
  await client.commit([], [{ put: keys.of({ kind: "host", host: name }), value: JSON.stringify(record) }]);
}
