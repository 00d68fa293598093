/** The lease of a host whose etcd does not answer for a while, with an etcd that is made up. */
import { expect, it } from "vitest";
import { Presence } from "../../../packages/fleet/src/agent/presence.ts";
import { type Etcd, Fault, hostRecord, Keys } from "../../../packages/fleet/src/index.ts";

const record = hostRecord(
  { name: "h1", addresses: [], pools: [], cores: 1, memory: 0, bootId: "boot", version: "0.1.0" },
  "h1",
);

const unused = (): never => {
  throw new Error("is not called here");
};

it("a lease that etcd still has is held again after a silence, and what had to wait is told", async () => {
  let calls = 0;
  const etcd: Etcd = {
    read: async (...ranges) => ({ revision: 1, lists: Object.assign(ranges.map(() => [])) }),
    commit: async () => ({ done: true, revision: 2 }),
    grant: async () => 7n,
    keepAlive: async () => {
      if (++calls === 1) throw new Fault("ETCD_UNREACHABLE", "etcd does not answer");
      return true;
    },
    revoke: unused,
    watch: unused,
  };
  const stop = new AbortController();
  const seen: string[] = [];
  // Shorter than the pause after a failure, so that the lease may have ended meanwhile.
  const presence: Presence = new Presence(etcd, new Keys(), "h1", 0.3, () => record, {
    taken: () => seen.push(`taken ${presence.lease}`),
    heldAgain: () => {
      seen.push(`held again ${presence.lease}`);
      stop.abort();
    },
    say: (sentence) => seen.push(sentence),
  });
  await presence.run(stop.signal);
  expect(seen).toEqual([
    "the lease is held",
    "taken 7",
    "etcd does not answer; servers go on",
    "held again 7",
    "the lease is held",
  ]);
});
