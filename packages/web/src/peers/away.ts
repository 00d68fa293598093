/** What is shown and answered of a host that is away. Without the checks of answers, which only the thread needs. */
import type { Host } from "../api/shapes.ts";
import { type Answer, refusal } from "../http/answer.ts";
import { SPARK_POINTS } from "../model/known.ts";
import type { PeerPlace } from "./peer-client.ts";

/** A host that has not answered. */
export function neverSeen({ name, address }: PeerPlace, now: number): Host {
  return {
    id: name,
    name: address.startsWith("unix:") ? name : new URL(address).hostname,
    version: null,
    up: null,
    memory: null,
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    unreachableSince: now,
    nextTry: now,
    spark: Array.from({ length: SPARK_POINTS }, () => null),
  };
}

/** The answer to a question about one of its berths. */
export function away(host: string, why: string): Answer {
  return refusal(502, "fault", `host ${host} gives no answer: ${why}`);
}
