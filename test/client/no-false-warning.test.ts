/** What Node itself does to a socket that it is given is no change of the server's: nothing is said of it. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { expect, it } from "vitest";
import { acquire } from "../../src/client/acquire.ts";
import { startBroker } from "../support/broker.ts";

const arena = {
  "arena.toml":
    '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n[sockets.query]\nlisten = ["udp://127.0.0.1:0", "udp://[::1]:0"]\n',
};

it("Node's own listen({ fd }) and bind({ fd }) leave nothing to warn of when the lease ends", async () => {
  await using broker = await startBroker(arena);
  {
    await using tenancy = await acquire("arena", { socket: broker.socket });
    const server = createServer().listen({ fd: tenancy.fd("game").dup().steal() });
    await once(server, "listening");
    server.close();
    for (const [index, family] of [
      [0, "udp4"],
      [1, "udp6"],
    ] as const) {
      const socket = createSocket(family).bind({ fd: tenancy.fd("query", index).dup().steal() });
      expect(socket.address().port).toBeGreaterThan(0); // it is bound as soon as bind({ fd }) returns
      socket.close();
    }
  }
  // The next lease waits until everything is set right.
  await using _next = await acquire("arena", { socket: broker.socket });
  expect(broker.log.filter(({ event }) => event === "repaired").map(({ message }) => message)).toEqual([]);
});
