/** The mover's side of a copy, with a real etcd and hosts that exist only there. */
import { describe, expect, it } from "vitest";
import { FileCopy } from "../../../packages/fleet/src/fleet/moves/file-copy.ts";
import { type Etcd, type EtcdClient, Fleet, Keys } from "../../../packages/fleet/src/index.ts";
import { shareEtcd } from "../../support/fleet/etcd.ts";
import { addHost, setOf } from "../../support/fleet/made-up.ts";
import { needs } from "../../support/needs.ts";

describe("a copy of files", { ...needs("etcd"), timeout: 60_000 }, () => {
  const keys = new Keys();
  let client: EtcdClient;
  shareEtcd((_, shared) => {
    client = shared;
  });

  it("that one host refuses waits no longer for the other one", async () => {
    const ports = { pools: [{ first: 1000, last: 1003 }] };
    await addHost(client, keys, "h1", ports);
    const fleet = new Fleet(client, keys);
    await fleet.apply(setOf("a"));
    const placed = (await fleet.view()).placements.get("a-1");
    if (placed === undefined) throw new Error("a-1 has no host");
    await addHost(client, keys, "h2", ports);

    let watches = 0;
    const counted: Etcd = {
      read: (...ranges) => client.read(...ranges),
      commit: (conditions, changes) => client.commit(conditions, changes),
      grant: (seconds) => client.grant(seconds),
      keepAlive: (lease) => client.keepAlive(lease),
      revoke: (lease) => client.revoke(lease),
      async *watch(range, from, signal) {
        watches++;
        try {
          yield* client.watch(range, from, signal);
        } finally {
          watches--;
        }
      },
    };
    const end = (host: string) => ({ host, store: "192.0.2.1:9118" });
    const options = { root: {}, signal: new AbortController().signal, say: () => undefined };
    const begun = FileCopy.begin(counted, keys, placed, end("h1"), end("h2"), options);
    const refused = expect(begun).rejects.toMatchObject({
      code: "NOT_MOVED",
      message: "a-1 stays on h1: h2: there is no room",
    });
    await expect.poll(() => watches).toBe(2);
    const { lists } = await client.read({ key: keys.of({ kind: "copy", host: "h2", berth: "a-1" }) });
    const { id, step } = JSON.parse(lists[0][0]?.value ?? "");
    const report = { berth: "a-1", id, step, state: "failed", seconds: 0, fetched: 0, why: "there is no room" };
    const put = keys.of({ kind: "copied", host: "h2", berth: "a-1" });
    await client.commit([], [{ put, value: JSON.stringify(report) }]);
    await refused;
    await expect.poll(() => watches).toBe(0);
  });
});
