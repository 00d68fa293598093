/**
 * Hosts that exist only in etcd, with the records that agents and placements would write; and what is measured there.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { berthSet, Fleet, hostRecord, writeBerthSet } from "../packages/fleet/dist/index.js";
import { percentile } from "./fleet-report.mjs";

/** etcd takes at most 128 changes at once (--max-txn-ops). */
const MOST_CHANGES = 120;
/** Seconds of a lease, as the agent has it by default; it is kept three times in that time. */
const TTL_S = 10;
const PLACED = 50;
const WATCHED = 200;
const KEEP_ALIVE_MS = 3_000;

const nameOf = (number) => `h${String(number).padStart(5, "0")}`;
const command = ["/srv/arena/server", "--port", "{port:game}"];
const berth = { sockets: { game: { listen: ["udp://0.0.0.0:0"] } }, server: { command, user: "games" } };

/** `berths` on each host. The result is the leases of the hosts. */
export async function fillFleet(clients, keys, hosts, berths) {
  const [client] = clients;
  const set = berthSet({ name: "arena", count: 10_000, berth }, "arena");
  await client.commit([], [{ put: keys.of({ kind: "set", set: "arena" }), value: writeBerthSet(set) }]);
  const leases = [];
  await each(clients, hosts, async (own, number) => {
    const lease = await own.grant(3_600);
    leases.push(lease);
    await writeHost(own, keys, nameOf(number), number * berths, berths, lease);
  });
  return leases;
}

async function writeHost(client, keys, host, first, count, lease) {
  const port = (at) => 27_000 + at;
  const record = hostRecord(
    {
      ...{ name: host, addresses: [`${host}.example.org`], pools: [{ first: 27_000, last: 27_999 }] },
      ...{ cores: 16, memory: 64 * 2 ** 30, labels: { region: "eu" }, bootId: "boot", version: "0.1.0" },
    },
    host,
  );
  const booked = {};
  const changes = [];
  for (let at = 0; at < count; at++) {
    const name = `old-${first + at + 1}`;
    const generation = 2;
    const ports = { game: port(at) };
    const placement = { berth: name, set: "old", host, generation, ports, onLost: "stay" };
    const config = { ...berth, sockets: { game: { listen: [`udp://0.0.0.0:${port(at)}`] } } };
    const report = { berth: name, generation, state: "occupied", players: 8, server: `lease-${first + at}` };
    booked[name] = { set: "old", ports: [port(at)], memory: 512 * 2 ** 20 };
    changes.push(
      { put: keys.of({ kind: "placement", berth: name }), value: JSON.stringify(placement) },
      {
        put: keys.of({ kind: "assignment", host, berth: name }),
        value: JSON.stringify({ berth: name, generation, config }),
      },
      { put: keys.of({ kind: "state", host, berth: name }), value: JSON.stringify(report), lease },
    );
  }
  changes.push(
    { put: keys.of({ kind: "bookings", host }), value: JSON.stringify({ berths: booked }) },
    { put: keys.of({ kind: "host", host }), value: JSON.stringify(record), lease },
  );
  for (let at = 0; at < changes.length; at += MOST_CHANGES)
    await client.commit([], changes.slice(at, at + MOST_CHANGES));
}

export async function measureFleet(clients, keys, leases) {
  const [client] = clients;
  const stored = await sizeOf(client, keys);
  const keptAlive = await keepAlives(clients, leases);
  // As where all agents keep their leases: what follows is measured beside that.
  const stop = new AbortController();
  const keeping = keepLeases(clients.slice(4), leases, stop.signal);
  const read = await timeOf(() => new Fleet(client, keys).view());
  const placed = await place(client, keys);
  const lags = await watchLags(client, clients[1], keys);
  stop.abort();
  await keeping;
  return {
    ...stored,
    ...{ keepAlives: keptAlive, neededKeepAlives: (leases.length * 3) / TTL_S },
    ...{ read, placements: placed, lag: percentile(lags, 0.5), lag99: percentile(lags, 0.99) },
  };
}

/** How many keys there are, and the bytes of keys and values. */
async function sizeOf(client, keys) {
  const sum = { keys: 0, bytes: 0 };
  for (const kind of ["host", "bookings", "set", "placement", "assignment", "state"]) {
    const { lists } = await client.read({ prefix: keys.all(kind) });
    for (const { key, value } of lists[0]) {
      sum.keys++;
      sum.bytes += key.length + Buffer.byteLength(value);
    }
  }
  return sum;
}

/** Milliseconds that it takes. */
async function timeOf(act) {
  const begin = performance.now();
  await act();
  return performance.now() - begin;
}

/** How many a second, by all clients, as fast as they can. */
async function keepAlives(clients, leases) {
  let count = 0;
  const end = performance.now() + KEEP_ALIVE_MS;
  const lane = async (client, at) => {
    for (let next = at; performance.now() < end; next++, count++) await client.keepAlive(leases[next % leases.length]);
  };
  await Promise.all(clients.flatMap((client, at) => [0, 1, 2, 3].map((more) => lane(client, at * 4 + more))));
  return count / (KEEP_ALIVE_MS / 1000);
}

/** As many a second as these hosts would ask for. */
async function keepLeases(clients, leases, signal) {
  const pause = 100;
  const each = Math.max(1, Math.round((leases.length * 3 * pause) / (TTL_S * 1000)));
  for (let at = 0; !signal.aborted; at += each, await sleep(pause)) {
    const some = Array.from({ length: each }, (_, more) => leases[(at + more) % leases.length]);
    await Promise.all(some.map((lease, more) => clients[more % clients.length].keepAlive(lease)));
  }
}

/** Placements a second of one `berth-fleet place`, the reading of the fleet left out. */
async function place(client, keys) {
  const fleet = new Fleet(client, keys);
  const set = (count) => berthSet({ name: "new", count, berth }, "new");
  const read = await timeOf(() => fleet.apply(set(1)));
  const all = await timeOf(() => fleet.apply(set(1 + PLACED)));
  return PLACED / Math.max((all - read) / 1000, 0.001);
}

/** Milliseconds from a commit's call until the watch of a host has it. */
async function watchLags(writer, watcher, keys) {
  const host = nameOf(0);
  const key = keys.of({ kind: "assignment", host, berth: "watched-1" });
  const { revision } = await writer.commit([], [{ put: key, value: "{}" }]);
  const stop = new AbortController();
  const lags = [];
  let begin = 0;
  let seen = () => undefined;
  const watching = (async () => {
    for await (const events of watcher.watch({ prefix: keys.allOf("assignment", host) }, revision + 1, stop.signal)) {
      if (events.length > 0) lags.push(performance.now() - begin);
      seen();
    }
  })();
  await new Promise((resolve) => {
    seen = resolve;
  });
  for (let count = 0; count < WATCHED; count++) {
    const next = new Promise((resolve) => {
      seen = resolve;
    });
    begin = performance.now();
    await Promise.all([writer.commit([], [{ put: key, value: String(count) }]), next]);
  }
  stop.abort();
  await watching;
  return lags;
}

/** `act` for each number, at most as many at once as there are clients. */
async function each(clients, count, act) {
  let next = 0;
  const lane = async (client) => {
    while (next < count) await act(client, next++);
  };
  await Promise.all(clients.map(lane));
}
