/** Descriptors that a peer has made so that close(2) waits for somebody else: the broker does not wait with it. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { AF_UNIX, encodeSockaddr } from "../../../src/net/address.ts";
import { SOCK_DGRAM } from "../../../src/net/transport.ts";
import { type BrokerProcess, spawnBroker } from "../../support/broker.ts";
import { expectFdsAgain, settledFds } from "../../support/fds.ts";
import { type Lingering, lingering } from "../../support/lingering.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { memfd } from "../../support/sockets.ts";

let broker: BrokerProcess;
let before: string[];
let waiting: Lingering;

beforeEach(async () => {
  broker = await spawnBroker({ "a.toml": '[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]' });
  before = await settledFds(broker.pid);
  waiting = lingering();
});

afterEach(async () => {
  {
    using client = await RawPeer.connect(broker.socket);
    expect((await client.call("List"))?.error).toBeUndefined();
  }
  await expectFdsAgain(before, broker.pid);
  waiting[Symbol.dispose]();
  const exited = once(broker.child, "exit");
  broker.child.kill("SIGTERM");
  expect(await exited).toEqual([0, null]);
  await broker[Symbol.asyncDispose]();
});

/**
 * Does something before the broker looks at what it has been sent: the last close(2) of that is the broker's, not ours.
 */
async function unseen(action: () => void): Promise<void> {
  broker.child.kill("SIGSTOP");
  const state = (): string | undefined =>
    /^State:\t(\w)/m.exec(readFileSync(`/proc/${broker.pid}/status`, "utf8"))?.[1];
  await expect.poll(state).toBe("T");
  try {
    action();
  } finally {
    broker.child.kill("SIGCONT");
  }
}

it("with a call that takes none", async () => {
  using peer = await RawPeer.connect(broker.socket);
  // Only then may it send descriptors.
  await peer.call("List");
  await unseen(() => {
    expect(peer.trySend(frame("List"), [waiting.fd])).toBeGreaterThan(0);
    native.close(waiting.fd);
  });
  expect((await peer.receive())?.error).toBe("org.varlink.service.InvalidParameter");
});

it("with a message of a process that is not a tenant", async () => {
  using sender = FdHandle.adopt(native.socket(AF_UNIX, SOCK_DGRAM, 0));
  const address = encodeSockaddr({ family: "unix", path: `${broker.socket}.notify`, abstract: false });
  expect(native.connect(sender.fd, address)).toBe(0);
  await unseen(() => {
    expect(native.sendmsg(sender.fd, Buffer.from("FDSTORE=1"), 0, Int32Array.of(waiting.fd), 1)).toBe(9);
    native.close(waiting.fd);
  });
});

it("in a stash, handed over and then replaced", async () => {
  using peer = await RawPeer.connect(broker.socket);
  const acquire = async (): Promise<string> =>
    String((await peer.call("Acquire", { berth: "a" }))?.parameters["lease"]);
  const stash = async (lease: string, fd: number): Promise<void> => {
    await peer.send(frame("Stash", { lease, name: "player" }), [fd]);
    expect((await peer.receive())?.error).toBeUndefined();
  };
  const lease = await acquire();
  await stash(lease, waiting.fd);
  expect(await acquire()).toBe(lease);
  expect(peer.fds).toHaveLength(3);
  // Ours, and those that came with the replies: the broker's is then the last.
  for (const handle of peer.fds.splice(0)) native.closeForeign(handle.steal());
  native.close(waiting.fd);
  using file = memfd();
  await stash(lease, file.fd);
  await peer.call("Release", { lease });
  // What a predecessor left goes when its successor is ready.
  const next = await acquire();
  await peer.call("Ready", { lease: next });
  await peer.call("Release", { lease: next });
});
