/** Hosts and reports that exist only in etcd, as agents would write them. */
import { berthSet, type Etcd, Fleet, hostRecord, type Keys } from "../../../packages/fleet/src/index.ts";

/** A host with two cores, no port and no memory, unless `more` says so. */
export async function addHost(etcd: Etcd, keys: Keys, name: string, more: object = {}): Promise<void> {
  const usual = { name, addresses: [`${name}.example.org`], cores: 2, bootId: "boot", version: "0.1.0" };
  const record = hostRecord({ ...usual, pools: [], memory: 0, ...more }, name);
  await etcd.commit([], [{ put: keys.of({ kind: "host", host: name }), value: JSON.stringify(record) }]);
}

/** What an agent would say of each berth of the set. */
export async function report(etcd: Etcd, keys: Keys, set: string, more: object): Promise<void> {
  const { placements } = await new Fleet(etcd, keys).view();
  for (const { record } of placements.values()) {
    if (record.set !== set) continue;
    const { berth, generation, host } = record;
    const value = JSON.stringify({ berth, generation, state: "occupied", ...more });
    await etcd.commit([], [{ put: keys.of({ kind: "state", host, berth }), value }]);
  }
}

/** A set with one UDP port of the pools. */
export const setOf = (name: string, more: object = {}) =>
  berthSet({ name, berth: { sockets: { game: { listen: ["udp://0.0.0.0:0"] } } }, ...more }, name);
