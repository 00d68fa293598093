/** Calls on the berth `game` of a broker that drains it. */
import { expect } from "vitest";
import { RawPeer } from "./peer.ts";
import type { RawReply } from "./puppet.ts";

/** What a reply says of a drain. */
export interface Drain {
  readonly joins?: string;
  readonly note?: string;
}

/** Of the caller's own user, unless another is given. */
export async function call(
  socket: string,
  method: string,
  parameters: object = {},
  uid?: number,
): Promise<RawReply | undefined> {
  using peer = await RawPeer.connect(socket, uid);
  return await peer.call(method, { berth: "game", ...parameters });
}

/** Begins a drain, which has to succeed. `within`: seconds. */
export async function drain(socket: string, within?: number): Promise<Drain> {
  const done = await call(socket, "Drain", within === undefined ? {} : { within });
  expect(done?.error).toBeUndefined();
  return done?.parameters["drain"] as Drain;
}
