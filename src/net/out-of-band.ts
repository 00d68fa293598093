/**
 * Bytes that a peer of a stream socket sends with MSG_OOB. Without SO_OOBINLINE a peek skips such a byte. Then poll(2)
 * says that there is something to read for ever, and the next read drops the byte with its descriptors, and closes
 * them, which may wait (unix(7); hazard 40).
 */
import type { Native } from "../native.ts";
import { SO_OOBINLINE, SOL_SOCKET } from "./socket-constants.ts";

/** From now on such a byte of a connection is one like all others, and its descriptors are seen. */
export function showOutOfBand(socket: number, sys: Pick<Native, "setsockopt">): void {
  sys.setsockopt(socket, SOL_SOCKET, SO_OOBINLINE, 1);
}
