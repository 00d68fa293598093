/** Goes on when the broker restarts: leases and drains outlive it, so the next broker knows of them. */
import { setTimeout as sleep } from "node:timers/promises";
import { isBrokerGone } from "./ask.ts";

/** How long a restart may take, and how often to ask for the next broker, in milliseconds. */
const RESTART_MS = 30_000;
const LOOK_MS = 200;

/**
 * Asks the broker. While there is none, asks again for half a minute, or until `end` is aborted; then throws what the
 * last try threw. `ask` is called again although an earlier call may have been carried out.
 */
export async function acrossRestarts<Result>(ask: () => Promise<Result>, end: AbortSignal): Promise<Result> {
  const late = performance.now() + RESTART_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isBrokerGone(error) || end.aborted || performance.now() >= late) throw error;
      await sleep(LOOK_MS, undefined, { signal: end }).catch(() => undefined);
    }
  }
}
