/** What a broker says of a berth's time: since when it is as it is, and how often it was given out again. */
import { expect, it } from "vitest";
import { acquire } from "../../../src/client/acquire.ts";
import { startBroker } from "../../support/broker.ts";
import { Puppet } from "../../support/puppet.ts";

it("since is when the state changed, and when the lease was granted; restarts are the leases after the first", async () => {
  const start = Date.now() * 1000;
  await using test = await startBroker({ "lobby.toml": '[sockets.chat]\nlisten = ["tcp://127.0.0.1:0"]\n' });
  const view = () => test.broker.berths[0];
  const vacant = view()?.since ?? 0;
  expect(vacant).toBeGreaterThanOrEqual(start);
  expect(view()?.restarts).toBeUndefined();

  const first = await acquire("lobby", { socket: test.socket });
  const granted = view()?.lease?.since ?? 0;
  expect(granted).toBeGreaterThanOrEqual(vacant);
  expect(view()?.since).toBe(granted);
  await first.ready();
  expect(view()?.since).toBe(granted);
  {
    await using newcomer = await Puppet.connect(test.socket);
    await newcomer.call("Acquire", { berth: "lobby", replace: "must" });
    expect(view()?.state).toBe("handover");
    expect(view()?.since).toBeGreaterThanOrEqual(granted);
    expect(view()?.lease?.since).toBe(granted);
    expect(view()?.restarts).toBe(1);
  }
  await expect.poll(() => view()?.state).toBe("occupied");
  expect(view()?.since).toBe(granted);
  await first.release();
  expect(view()).toMatchObject({ state: "vacant", restarts: 1 });
  expect(view()?.since).toBeGreaterThanOrEqual(granted);
  await using _second = await acquire("lobby", { socket: test.socket });
  expect(view()?.restarts).toBe(2);
});
