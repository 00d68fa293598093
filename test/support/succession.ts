/** What two brokers say to each other when one takes over, and what a test looks at then. */
import type { Logged } from "./broker.ts";
import { RawPeer } from "./peer.ts";

export interface View {
  readonly name: string;
  readonly state: string;
  readonly lease?: { readonly id: string; readonly pid: number };
}

/** For a poll: whoever is waited for may have to wait for the processor. */
export const patiently = { timeout: 30_000 } as const;

/** Without what begins anew with a broker: since when a berth is vacant, and how often it was given out again. */
export function lasting<T extends object>(berths: readonly T[]): T[] {
  return berths.map((berth) => ({ ...berth, since: undefined, restarts: undefined }));
}

/** What a broker lists for root or its own user, as far as it outlives the broker. */
export async function list(socket: string): Promise<View[]> {
  using peer = await RawPeer.connect(socket);
  return lasting((await peer.call("List"))?.parameters["berths"] as View[]);
}

/** The calls of io.berthd.Succession, as they are sent. */
export const takeOver: string = `${JSON.stringify({ method: "io.berthd.Succession.TakeOver", more: true })}\0`;
export const confirm: string = `${JSON.stringify({ method: "io.berthd.Succession.Confirm" })}\0`;
/** What a broker logs that goes on after all. */
export const gaveUp = ({ event }: Logged): boolean => event === "succession-failed";
export const said = ({ log }: { readonly log: readonly Logged[] }): string =>
  log.map(({ message }) => message).join("\n");

/** Everything a broker would hand over; the descriptors are the peer's. */
export async function receiveAll(peer: RawPeer): Promise<string[]> {
  const names: string[] = [];
  for (;;) {
    const reply = await peer.receive();
    if (reply === undefined || reply.error !== undefined) throw new Error(`refused: ${JSON.stringify(reply)}`);
    names.push(...(reply.parameters["names"] as string[]));
    if (reply.continues !== true) return names;
  }
}
