/** The one stream of changes (server-sent events). It keeps the world up to date while the tab is visible. */
import type { Overview, Patch, Ping, StreamTimeline, Time } from "../../src/api/shapes.ts";
import { NOTHING, type World, withOverview, withPatch } from "../model/world.ts";
import { ask } from "./ask.ts";
import { follow, now } from "./clock.ts";
import { createStore, type Store } from "./store.ts";
import { whileVisible } from "./visible.ts";

export type Connection =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  | { readonly kind: "lost"; readonly since: Time; readonly nextTry: Time }
  | { readonly kind: "denied"; readonly message: string };

const MIN_RETRY_MS = 1000;
const MAX_RETRY_MS = 15_000;
/** The server sends a ping every 10 s. A connection that brings nothing for longer is dead, without an error. */
const SILENCE_MS = 25_000;
const STREAM = "/api/v1/events";

export const world: Store<World> = createStore(NOTHING);
export const connection: Store<Connection> = createStore<Connection>({ kind: "connecting" });
/** The last event of any berth's timeline. */
export const lastEvent: Store<StreamTimeline | undefined> = createStore<StreamTimeline | undefined>(undefined);

/** Connects while the tab is visible; after an error again, with growing pauses. Returns a function that ends it. */
export function startStream(): () => void {
  return whileVisible(() => {
    const ended = new AbortController();
    connect(MIN_RETRY_MS, ended.signal);
    return () => ended.abort();
  });
}

function connect(retryMs: number, ended: AbortSignal): void {
  if (ended.aborted) return;
  const source = new EventSource(STREAM);
  let pause = retryMs;
  const close = (): void => {
    clearTimeout(silence);
    source.close();
  };
  const lose = (): void => {
    close();
    ended.removeEventListener("abort", close);
    void retry(pause, ended);
  };
  let silence = setTimeout(lose, SILENCE_MS);
  const hear = (): void => {
    clearTimeout(silence);
    silence = setTimeout(lose, SILENCE_MS);
  };
  ended.addEventListener("abort", close, { once: true });
  source.addEventListener("state", (event) => {
    hear();
    const overview: Overview = JSON.parse(event.data);
    pause = MIN_RETRY_MS;
    follow(overview.at);
    world.set(withOverview(world.get(), overview));
    connection.set({ kind: "live" });
  });
  source.addEventListener("patch", (event) => {
    hear();
    const patch: Patch = JSON.parse(event.data);
    follow(patch.at);
    world.set(withPatch(world.get(), patch));
  });
  source.addEventListener("timeline", (event) => {
    hear();
    lastEvent.set(JSON.parse(event.data));
  });
  source.addEventListener("ping", (event) => {
    hear();
    const ping: Ping = JSON.parse(event.data);
    follow(ping.at);
  });
  source.addEventListener("error", lose);
}

/** EventSource does not say why it failed, so the overview is asked for: it may be a refusal. */
async function retry(pause: number, ended: AbortSignal): Promise<void> {
  const before = connection.get();
  const since = before.kind === "lost" ? before.since : now();
  connection.set({ kind: "lost", since, nextTry: now() + pause });
  const answer = await ask<Overview>("overview", ended).catch(() => undefined);
  if (answer === undefined || ended.aborted) return;
  if (answer.kind === "refused" && answer.code === "denied") {
    connection.set({ kind: "denied", message: answer.message });
    return;
  }
  // After an abort, connect does nothing. A listener for each try would stay until then.
  setTimeout(() => connect(Math.min(pause * 2, MAX_RETRY_MS), ended), pause);
}
