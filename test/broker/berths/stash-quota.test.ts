/** Subordinate ids share the quota of stashed descriptors with their owner. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemAccounts } from "../../../src/accounts.ts";
import { DEFAULT_QUOTA, Quota } from "../../../src/broker/access/limits/quota.ts";
import { Owners } from "../../../src/broker/access/owners.ts";
import { Berth } from "../../../src/broker/berths/berth/berth.ts";
import type { Refusal } from "../../../src/broker/berths/request.ts";
import { Stashes } from "../../../src/broker/berths/stashes.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { TestFolder } from "../../support/broker.ts";

it("what subordinate ids stash counts as their owner's, until it is dropped", () => {
  using folder = new TestFolder({
    passwd: "alice:x:1000:1000::/home/alice:/bin/sh\n",
    subuid: "alice:100000:65536\n",
    "config/a.toml": '[sockets.game]\nlisten = ["udp://127.0.0.1:9"]',
  });
  const { specs } = loadConfig({ directories: [join(folder.path, "config")], accounts: systemAccounts(native) });
  const [berth] = specs.map((spec) => new Berth(spec, []));
  if (berth === undefined) throw new Error("the berth is not configured");
  const owners = new Owners({ isPrivileged: (uid) => uid === 0, ranges: () => [], etc: folder.path });
  const quota = new Quota({ ...DEFAULT_QUOTA, stash: 2 }, (uid) => owners.accountOf(uid, performance.now()));
  const stashes = new Stashes(quota, native);
  const put = (uid: number, name: string): Refusal | undefined => {
    using memfd = FdHandle.adopt(native.memfd(name));
    return stashes.put(berth, { id: "1", tenant: { pid: 1, uid, unit: undefined } }, name, memfd);
  };
  expect(put(100_001, "a")).toBeUndefined();
  expect(put(1000, "b")).toBeUndefined();
  expect(put(100_002, "c")).toMatchObject({
    limit: "stash",
    message: "uid 100002, which counts as uid 1000, has 2 descriptors stashed already",
  });
  expect(put(1001, "d")).toBeUndefined();
  // In the place of another's of the same account it costs nothing.
  expect(put(100_002, "b")).toBeUndefined();
  stashes.drop(berth, "a");
  expect(put(100_002, "c")).toBeUndefined();
  // In the place of another account's it is that one's no longer: closed, and charged to the new owner.
  const dropped: string[] = [];
  const first = berth.stash.get("d");
  if (first === undefined) throw new Error("it is not stashed");
  first.storedCopy = { drop: () => dropped.push("d"), dropNow: () => undefined };
  expect(put(100_002, "d")).toMatchObject({ limit: "stash" });
  expect([first.handle.open, dropped]).toEqual([true, []]);
  stashes.drop(berth, "a");
  stashes.drop(berth, "b");
  expect(put(100_002, "d")).toBeUndefined();
  expect([first.handle.open, dropped, quota.used("stash", 1001)]).toEqual([false, ["d"], 0]);
  const second = berth.stash.get("d");
  expect(put(1000, "d")).toBeUndefined();
  expect([second?.handle.open, quota.used("stash", 1000)]).toEqual([false, 2]);
  stashes.clear(berth);
  expect([quota.used("stash", 1000), quota.used("stash", 1001)]).toEqual([0, 0]);
});
