/** Closes a host to new berths, and opens it again. */
import type { Etcd } from "../../etcd/etcd.ts";
import { Fault } from "../../fault.ts";
import { type Cordon, hold } from "../../model/hold.ts";
import type { Keys } from "../../model/keys.ts";
import { eventChange, pruneSometimes } from "../events.ts";
import { readable, readFleet } from "../view.ts";

/** Berths that are there stay. Throws NO_SUCH_HOST for one that has neither an agent nor a berth. */
export async function cordonHost(etcd: Etcd, keys: Keys, host: string): Promise<void> {
  const view = await readFleet(etcd, keys);
  if (!view.hosts.has(host) && !view.bookings.has(host))
    throw new Fault("NO_SUCH_HOST", `there is no host ${host}; to see all: berth-fleet ls hosts`);
  const record: Cordon = { host };
  const key = keys.of({ kind: "cordon", host });
  const put = { put: key, value: JSON.stringify(record) };
  await etcd.commit([{ key, revision: 0 }], [put, eventChange(keys, "closed", { host })]);
  await pruneSometimes(etcd, keys);
}

/**
 * New berths may come, and those that `drain --stop` has stopped start again: resolves with their names. Throws
 * NO_SUCH_HOST if the host was not closed.
 */
export async function uncordonHost(etcd: Etcd, keys: Keys, host: string): Promise<string[]> {
  const key = keys.of({ kind: "cordon", host });
  const { lists } = await etcd.read({ prefix: keys.allOf("assignment", host) });
  const holds = lists[0].filter((entry) => keys.heldBy(entry.key) !== undefined);
  const stopped = holds.filter((one) => readable(one.key, one.value, hold, () => undefined)?.by === "drain");
  const { done } = await etcd.commit(
    [{ key, present: true }],
    [{ remove: { key } }, eventChange(keys, "opened", { host })],
  );
  if (!done && stopped.length === 0) throw new Fault("NO_SUCH_HOST", `host ${host} is not closed to new berths`);
  for (const { key: of, revision } of stopped) await etcd.commit([{ key: of, revision }], [{ remove: { key: of } }]);
  await pruneSometimes(etcd, keys);
  return stopped.map((entry) => keys.heldBy(entry.key) ?? "");
}
