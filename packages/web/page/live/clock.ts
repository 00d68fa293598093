/** The broker's time, once a second while the tab is visible. */
import type { Time } from "../../src/api/shapes.ts";
import { createStore, type Store } from "./store.ts";
import { whileVisible } from "./visible.ts";

const MAX_DRIFT_MS = 1500;

/** What to add to this machine's clock to have the server's. */
let offset = 0;

/** The present time by the server's clock: durations and countdowns are right where the reader's clock is not. */
export function now(): Time {
  return Date.now() + offset;
}

/** Follows the time that a message of the server gives; small differences are the network's. */
export function follow(serverTime: Time): void {
  const seen = serverTime - Date.now();
  if (Math.abs(seen - offset) > MAX_DRIFT_MS) offset = seen;
}

export const ticks: Store<Time> = createStore(now());

/** Starts the ticks. Returns a function that ends them. */
export function startClock(): () => void {
  return whileVisible(() => {
    ticks.set(now());
    const timer = setInterval(() => ticks.set(now()), 1000);
    return () => clearInterval(timer);
  });
}
