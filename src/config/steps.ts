/** Long work in steps: a generator that stops often. It runs to its end at once, or in slices between other work. */
import { setImmediate } from "node:timers/promises";

/** Runs all steps at once, and returns the result. */
export function toEnd<T>(steps: Iterator<undefined, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Runs steps for `sliceMs` at a time. The event loop turns before each slice, and nothing is done at once. */
export async function inSlices<T>(steps: Iterator<undefined, T>, sliceMs: number): Promise<T> {
  for (;;) {
    await setImmediate();
    for (const end = performance.now() + sliceMs; performance.now() < end; ) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }
}
