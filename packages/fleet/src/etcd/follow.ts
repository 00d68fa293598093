/** All keys of a range, and every change of them, over broken connections and compactions. */
import { Compacted, type Etcd, isUnreachable } from "./etcd.ts";
import type { Entry, KeyEvent, Range } from "./messages.ts";

export type Followed =
  /** All keys as they are now: at first, and after etcd has forgotten what happened in between. */
  | { readonly kind: "all"; readonly entries: readonly Entry[] }
  | { readonly kind: "changes"; readonly events: readonly KeyEvent[] }
  /** etcd does not answer. It is asked again. */
  | { readonly kind: "lost"; readonly why: string }
  /** It answers again; no change was missed. */
  | { readonly kind: "back" };

const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 2_000;

/** Ends with the signal. Throws what is no broken connection. */
export async function* follow(etcd: Etcd, range: Range, signal: AbortSignal): AsyncGenerator<Followed, void, void> {
  /** The first revision that we have not seen; undefined: all is to be read. */
  let next: number | undefined;
  let pause = FIRST_PAUSE_MS;
  let isLost = false;
  while (!signal.aborted) {
    try {
      if (next === undefined) {
        const { revision, lists } = await etcd.read(range);
        next = revision + 1;
        isLost = false;
        yield { kind: "all", entries: lists[0] };
      }
      for await (const events of etcd.watch(range, next, signal)) {
        pause = FIRST_PAUSE_MS;
        if (isLost) yield { kind: "back" };
        isLost = false;
        if (events.length === 0) continue;
        yield { kind: "changes", events };
        next = Math.max(...events.map(revisionOf)) + 1;
      }
    } catch (error) {
      if (error instanceof Compacted) {
        next = undefined;
        continue;
      }
      if (!isUnreachable(error)) throw error;
      isLost = true;
      yield { kind: "lost", why: error instanceof Error ? error.message : String(error) };
      await sleep(pause, signal);
      pause = Math.min(LAST_PAUSE_MS, pause * 2);
    }
  }
}

function revisionOf(event: KeyEvent): number {
  return event.kind === "put" ? event.entry.revision : event.revision;
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
}

/** Ends early with the signal. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
