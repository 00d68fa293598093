/** A message that a worker has received, with its descriptors. */
import type { FdHandle } from "../../fd.ts";
import { decodeReceived, type ReceivedMessage } from "./protocol.ts";

/** A message with the descriptors that passed; the receiver owns them. `pidfd` is its sender's, of a datagram. */
export interface GuardedMessage extends ReceivedMessage {
  readonly fds: readonly FdHandle[];
  readonly pidfd: FdHandle | undefined;
}

/** A worker's first reply, and the descriptors that came with it. */
export function guardedMessage(reply: Buffer, fds: readonly FdHandle[]): GuardedMessage {
  const message = decodeReceived(reply);
  const passed = message.verdicts.filter((verdict) => verdict === undefined).length;
  return { ...message, fds: fds.slice(0, passed), pidfd: fds[passed] };
}
