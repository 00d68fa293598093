/**
 * Closes a mount on another thread. The last close(2) of a detached mount waits until no CPU uses the mount. For a
 * persistent root it also waits for the disk. That is too long for a thread that serves clients.
 */
import { close } from "node:fs";
import type { FdHandle } from "../../fd.ts";

/**
 * Closes the descriptor. Resolves when it is closed, even if close(2) fails: Linux frees the descriptor in any case.
 * The close starts after this turn of the event loop, so a client's reply is sent first.
 */
export function closeLater(handle: FdHandle): Promise<void> {
  const fd = handle.steal();
  return new Promise((resolve) => setImmediate(() => close(fd, () => resolve())));
}
