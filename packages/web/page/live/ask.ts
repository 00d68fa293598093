/** Questions to /api/v1, and components that ask them again and again. */
import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../../src/api/shapes.ts";
import { whileVisible } from "./visible.ts";

/** "unreachable": there was no answer, or none of the API's. */
type RefusalCode = ApiError["error"]["code"] | "unreachable";

export type Answer<T> =
  | { readonly kind: "waiting" }
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly message: string };

/** Refusals that a later question may not get: they do not take away what is shown. */
const PASSING: ReadonlySet<RefusalCode> = new Set(["unreachable", "too-many", "fault"]);

/** How long an answer may take, until its last byte: of a connection that is dead there is none. */
const ANSWER_MS = 20_000;

/** `path` is below /api/v1. Throws only when `signal` aborts. */
export async function ask<T>(path: string, signal: AbortSignal): Promise<Answer<T>> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error("no answer came in time")), ANSWER_MS);
  try {
    const response = await fetch(`/api/v1/${path}`, {
      signal: AbortSignal.any([signal, late.signal]),
      headers: { accept: "application/json" },
    });
    if (response.ok) return { kind: "ok", value: await response.json() };
    const { error }: ApiError = await response.json();
    return { kind: "refused", code: error.code, message: error.message };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: "refused", code: "unreachable", message: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The answer to `path`: asked at once, when `path` or `again` changes, and each `everyMs` while the tab is visible.
 * It returns an answer until the next one comes, but never that of another path.
 */
export function useAnswer<T>(path: string, everyMs: number, again: unknown = undefined): Answer<T> {
  const [shown, show] = useState<{ readonly path: string; readonly answer: Answer<T> }>();
  // `again` is a reason to ask, not part of the question.
  useEffect(() => {
    const ended = new AbortController();
    const once = async (): Promise<void> => {
      const answer = await ask<T>(path, ended.signal).catch(() => undefined);
      if (answer === undefined || ended.signal.aborted) return;
      const passes = answer.kind === "refused" && PASSING.has(answer.code);
      show((before) => (passes && before?.path === path ? before : { path, answer }));
    };
    const stop = whileVisible(() => {
      void once();
      const timer = setInterval(() => void once(), everyMs);
      return () => clearInterval(timer);
    });
    return () => {
      stop();
      ended.abort();
    };
  }, [path, everyMs, again]);
  return shown?.path === path ? shown.answer : { kind: "waiting" };
}

/** `HOST/NAME` as part of an address. */
export function berthPath(host: string, name: string): string {
  return `${encodeURIComponent(host)}/${encodeURIComponent(name)}`;
}
