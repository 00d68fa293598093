/**
 * Closing a mount on another thread. The last close(2) of a detached mount waits for every CPU to have let go of it, and
 * of a persistent root for its disk: too long for a thread that has clients to serve.
 */
import { close } from "node:fs";
import type { FdHandle } from "../../fd.ts";

/**
 * Closes the descriptor; resolves when it is closed. There is no failure that could be mended: it is gone in any case.
 * It begins when this turn of the event loop is over: what the turn was for, a client's reply, does not wait for it.
 */
export function closeLater(handle: FdHandle): Promise<void> {
  const fd = handle.steal();
  return new Promise((resolve) => setImmediate(() => close(fd, () => resolve())));
}
