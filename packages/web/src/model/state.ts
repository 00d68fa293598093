/** The one word for a berth, and its cause in a few words. Pure. */
import type { BerthRecord } from "berthd";
import type { StateWord } from "../api/shapes.ts";
import { FRESH_MS, type Known } from "./known.ts";
import { clean } from "./text.ts";

/** Shares of a limit above which players will feel it. */
const MEMORY_FULL = 0.92;
const QUEUE_FULL = 0.9;

type Facts = Pick<Known, "record" | "measured" | "loss" | "saysReady">;

export function stateOf(known: Facts, now: number): StateWord {
  const { record } = known;
  if (record.state === "vacant") return vacantState(record);
  if (trouble(known, now) !== undefined) return "problem";
  if (record.state === "handover") return "handover";
  if (record.drain) return "draining";
  return known.saysReady && record.ready === false ? "starting" : "serving";
}

function vacantState({ problems, wait, start }: BerthRecord): StateWord {
  if (problems && problems.length > 0) return "failed";
  if (wait) return wait.for === "repair" ? "starting" : "failed";
  switch (start?.state) {
    case "failed":
      return "failed";
    case "starting":
    case "queued":
      return "starting";
    case "waiting":
      return "asleep";
    case "running":
    case undefined:
      return "vacant";
  }
}

/** Why a serving berth has a problem; see {@link trouble}. */
export type Trouble =
  | { readonly kind: "loss"; readonly count: number; readonly since: number }
  | { readonly kind: "queue"; readonly bytes: number }
  | { readonly kind: "memory"; readonly used: number; readonly limit: number }
  | { readonly kind: "configuration"; readonly message: string };

/** Undefined where a serving berth has no problem. */
export function trouble({ record, measured, loss }: Facts, now: number): Trouble | undefined {
  if (loss !== undefined && now - loss.last < FRESH_MS) return { kind: "loss", count: loss.count, since: loss.since };
  if (measured !== undefined && measured.queueFullness > QUEUE_FULL)
    return { kind: "queue", bytes: measured.queue ?? 0 };
  const { memory = null, memoryLimit = null } = measured ?? {};
  if (memory !== null && memoryLimit !== null && memory > memoryLimit * MEMORY_FULL) {
    return { kind: "memory", used: memory, limit: memoryLimit };
  }
  const [problem] = record.problems ?? [];
  return problem === undefined ? undefined : { kind: "configuration", message: problem.message };
}

/** The second line of a row, for what needs somebody. */
export function causeOf(known: Known, now: number): string | null {
  const { record } = known;
  if (known.state === "failed") return failure(record);
  if (known.state !== "problem") return null;
  const found = trouble(known, now);
  switch (found?.kind) {
    case "loss":
      return `${found.count.toLocaleString("en-US")} packets lost`;
    case "queue":
      return "receive queue full";
    case "memory":
      return `memory ${Math.floor((found.used / found.limit) * 100)} % full`;
    case "configuration":
      return clean(found.message, 60);
    case undefined:
      return null;
  }
}

function failure({ problems, wait, start }: BerthRecord): string {
  const [problem] = problems ?? [];
  if (problem !== undefined) return clean(problem.message, 60);
  if (wait) return clean(wait.message, 60);
  const times = start && start.failures > 1 ? `, ${start.failures}×` : "";
  if (start?.signal) return `${clean(start.signal, 20)}${times}`;
  if (start?.status !== null && start?.status !== undefined) return `status ${start.status}${times}`;
  return `${clean(start?.reason ?? "did not start", 50)}${times}`;
}
