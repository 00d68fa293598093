/** Pauses in long work on files, so that signal handlers, timers and clients have their turn. */
import { setImmediate } from "node:timers/promises";
import { abortError } from "../../errors.ts";

/**
 * Called between entries and between the parts of large files. It may wait, so that signal handlers run. It may throw
 * to stop the work.
 */
export type Pause = () => Promise<void>;

const PAUSE_INTERVAL_MS = 20;

/** A pause that lets others run, about fifty times a second. Throws the signal's reason when it is aborted. */
export function pauseFor(signal: AbortSignal | undefined): Pause {
  let last = performance.now();
  return async () => {
    if (signal?.aborted) throw abortError(signal);
    if (performance.now() - last < PAUSE_INTERVAL_MS) return;
    await setImmediate();
    last = performance.now();
  };
}
