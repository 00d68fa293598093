/** How large a call may be: small for somebody who may take no berth. Needs root, to be several users. */
import { describe, expect, it } from "vitest";
import { LARGE_CALL, SMALL_CALL } from "../../../src/broker/access/limits/limits.ts";
import { type BrokerProcess, spawnBroker } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";
import { frame, RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";

const TENANT = 65533;
const STRANGER = 65532;

async function broker(): Promise<BrokerProcess> {
  const berth = `[sockets.a]\nlisten = ["tcp://127.0.0.1:${await freePort()}"]\n[tenant]\nusers = [${TENANT}]`;
  return await spawnBroker({ "a.toml": berth });
}

/** A call of so many bytes, NUL included, that is refused for a parameter that there is not. */
function callOf(bytes: number): string {
  const rest = Buffer.byteLength(frame("List", { x: "" }));
  return frame("List", { x: "x".repeat(bytes - rest) });
}

/** A call with so many keys and array items. */
function callWith(values: number): string {
  return frame("List", { x: new Array(values - 3).fill(0) });
}

describe("a call (needs root, to be several users)", needs("root"), () => {
  it.each([
    ["of root", 0, LARGE_CALL],
    ["of somebody who may take a berth", TENANT, LARGE_CALL],
    ["of a stranger", STRANGER, SMALL_CALL],
  ])("%s has its largest size, and a larger one ends the connection", async (_, uid, { bytes }) => {
    await using process = await broker();
    using peer = await RawPeer.connect(process.socket, uid);
    await peer.send(callOf(bytes));
    expect(await peer.receive()).toMatchObject({ parameters: { parameter: "x" } });
    await peer.send(callOf(bytes + 1));
    expect(await peer.receiveAll()).toEqual([]);
    const dropped = await process.logged(({ event }) => event === "dropped");
    expect(dropped).toMatchObject({
      uid,
      code: "MESSAGE_TOO_LARGE",
      message: expect.stringContaining(`${bytes} bytes`),
    });
  });

  it.each([
    ["of somebody who may take a berth", TENANT, LARGE_CALL],
    ["of a stranger", STRANGER, SMALL_CALL],
  ])("%s may have so many keys and array items, and not one more", async (_, uid, { values }) => {
    await using process = await broker();
    using peer = await RawPeer.connect(process.socket, uid);
    await peer.send(callWith(values));
    expect(await peer.receive()).toMatchObject({ parameters: { parameter: "x" } });
    await peer.send(callWith(values + 1));
    expect(await peer.receiveAll()).toMatchObject([
      { parameters: { parameter: "call", message: "the message has too many keys or array items" } },
    ]);
  });

  it("that is incomplete holds little memory: one user's connections share a limit", async () => {
    await using process = await broker();
    const peers: RawPeer[] = [];
    for (let at = 0; at < 20; at++) {
      const peer = await RawPeer.connect(process.socket, TENANT);
      peers.push(peer);
      await peer.send(callOf(LARGE_CALL.bytes).slice(0, -1));
    }
    const dropped = await process.logged(({ event }) => event === "dropped");
    expect(dropped).toMatchObject({ uid: TENANT, message: expect.stringContaining("hold too much memory") });
    using other = await RawPeer.connect(process.socket, STRANGER);
    await other.send(callOf(SMALL_CALL.bytes));
    expect(await other.receive()).toMatchObject({ parameters: { parameter: "x" } });
    for (const peer of peers) peer.close();
    using later = await RawPeer.connect(process.socket, TENANT);
    await later.send(callOf(LARGE_CALL.bytes));
    expect(await later.receive()).toMatchObject({ parameters: { parameter: "x" } });
  });
});
