/** What is wrong with a berth's receive queues. Pure. */
import type { SocketFacts } from "../../src/api/shapes.ts";
import { count } from "./format.ts";

const FULL = 0.9;

/** `full, 1,204 packets lost`; null where all is well. */
export function queueTrouble(sockets: readonly SocketFacts[]): string | null {
  const isFull = sockets.some(({ queue }) => queue?.limit && queue.bytes / queue.limit >= FULL);
  const drops = sockets.reduce((sum, socket) => sum + (socket.drops ?? 0), 0);
  const parts = [isFull ? "full" : null, drops > 0 ? `${count(drops)} packets lost` : null];
  return parts.some((part) => part !== null) ? parts.filter((part) => part !== null).join(", ") : null;
}
