import { connect } from "node:net";
import { expect, it } from "vitest";
import { spawnBroker } from "../support/broker.ts";
import { frame, RawPeer } from "../support/peer.ts";
import { freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";

it("a tenant's death by SIGKILL frees its berth in under 50 ms, and its port never refuses a connection", async () => {
  const port = await freePort();
  await using broker = await spawnBroker({ "a.toml": `[sockets.web]\nlisten = ["tcp://127.0.0.1:${port}"]` });
  using watcher = await RawPeer.connect(broker.socket);
  await watcher.send(frame("Watch", {}, { more: true }));
  expect((await watcher.receive())?.parameters["event"]).toBe("present");
  const refused: Error[] = [];
  const delays: number[] = [];
  let attempts = 0;
  const knocking = setInterval(() => {
    attempts++;
    const socket = connect(port, "127.0.0.1", () => socket.destroy());
    socket.on("error", (error) => refused.push(error));
  }, 1);
  try {
    for (let n = 0; n < 11; n++) {
      await using tenant = await Puppet.connect(broker.socket);
      await tenant.acquire("a");
      expect((await watcher.receive())?.parameters["event"]).toBe("acquired");
      const killed = performance.now();
      process.kill(tenant.pid, "SIGKILL");
      const { event, berth } = { ...(await watcher.receive())?.parameters };
      delays.push(performance.now() - killed);
      expect({ event, berth }).toMatchObject({ event: "released", berth: { name: "a", state: "vacant" } });
    }
  } finally {
    clearInterval(knocking);
  }
  // Of most deaths: the machine may withhold the processor from a few.
  expect(delays.toSorted((a, b) => a - b)[5]).toBeLessThan(50);
  expect(attempts).toBeGreaterThan(20);
  expect(refused).toEqual([]);
});
