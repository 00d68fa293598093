/** Calls on the berth `game` of a broker that drains it. */
import { expect } from "vitest";
import { PATIENCE, ready } from "./doorman/doors.ts";
import { openFds } from "./fds.ts";
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

/** A hundred drains that turn players away, and are cancelled, leave no descriptor here, nor in the one doorman. */
export async function drainsLeaveNothing(socket: string): Promise<void> {
  using peer = await RawPeer.connect(socket);
  const round = async (): Promise<void> => {
    expect((await peer.call("Drain", { berth: "game" }))?.parameters["drain"]).toMatchObject({ joins: "refuse" });
    await peer.call("CancelDrain", { berth: "game" });
  };
  await round();
  const doorman = await ready();
  const ofDoorman = (): number => openFds(doorman).length;
  const [before, then] = [openFds().length, ofDoorman()];
  for (let times = 0; times < 100; times++) await round();
  await expect.poll(() => openFds().length, PATIENCE).toBeLessThanOrEqual(before);
  await expect.poll(ofDoorman, PATIENCE).toBeLessThanOrEqual(then);
  expect(openFds().filter((fd) => fd.includes("bpf"))).toEqual([]);
}
