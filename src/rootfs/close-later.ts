/**
 * Closing a mount on another thread. The last close(2) of a detached mount waits for every CPU to have let go of it, and
 * of a persistent root for its disk: too long for a thread that has clients to serve.
 */
import { close } from "node:fs";
import type { FdHandle } from "../fd.ts";

/** Closes the descriptor; resolves when it is closed. There is no failure that could be mended: it is gone in any case. */
export function closeLater(handle: FdHandle): Promise<void> {
  return new Promise((resolve) => close(handle.steal(), () => resolve()));
}
