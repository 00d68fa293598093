/** A lease that ends while a bind of its server is answered, with a guard that answers when the test says so. */
import { describe, expect, it } from "vitest";
import { native } from "../../src/native.ts";
import { IP_TOS, IPPROTO_IP } from "../../src/net/socket-constants.ts";
import { socketOption } from "../../src/net/socket-queries.ts";
import { startBroker } from "../support/broker.ts";
import { HeldUpGuard } from "../support/held-up-guard.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { freePort } from "../support/ports.ts";
import { berth, run } from "./harness.ts";

describe("a lease that ends while a bind of its server is answered", needs("root"), () => {
  it("leaves nothing on the socket of what the server had set on its own", async () => {
    const port = await freePort();
    // The event loop answers, and asks a guard process about the socket.
    class Asking extends native.Interceptor {
      override foresee(): void {}
      override inquire(): void {}
    }
    const guard = new HeldUpGuard({ ...native, Interceptor: Asking });
    await using test = await startBroker({ "arena.toml": berth({ game: [`udp://127.0.0.1:${port}`] }) }, { guard });
    const code = `import socket; s = socket.socket(2, 2); s.setsockopt(0, 1, 16); s.bind(("127.0.0.1", ${port}))`;
    await using _ = run(test, "arena", ["/usr/bin/python3", "-c", code]);
    // What a new socket is, and what its socket is.
    while (guard.owners.length < 3) {
      guard.decide("done");
      await new Promise(setImmediate);
    }
    expect(guard.waiting).toBe(1); // what it had set
    using peer = await RawPeer.connect(test.socket);
    const id = test.broker.berths[0]?.lease?.id;
    expect((await peer.call("Release", { lease: id }))?.error).toBeUndefined();
    using other = await RawPeer.connect(test.socket);
    const taken = peer.call("Acquire", { berth: "arena" });
    expect((await other.call("List"))?.parameters["berths"]).toMatchObject([{ state: "vacant" }]);
    expect(guard.owners).toHaveLength(3);
    guard.decide("done");
    await expect.poll(() => guard.owners.length).toBe(4);
    while (test.broker.berths[0]?.lease === undefined) {
      guard.decide("done");
      await new Promise(setImmediate);
    }
    await taken;
    expect(socketOption(peer.fds[0]?.fd ?? -1, IPPROTO_IP, IP_TOS, native)).toBe(0);
  });
});
