/** Calls that may find the broker short of something, or have to wait for it: tried again then, and answered in the end. */
import { isScarcity } from "../../errors.ts";
import type { Answer, Later } from "../../varlink/service.ts";
import type { Refusal, Waiting } from "../berths/request.ts";
import { refusal } from "./refusals.ts";
import type { Session } from "./session.ts";

/** Being out of descriptors or memory is a limit that was reached, and the caller's to hear; anything else is a defect. */
export function guarded<T>(act: () => T): T | Answer {
  try {
    return act();
  } catch (error) {
    if (!isScarcity(error)) throw error;
    return refusal({
      kind: "limit",
      limit: "descriptors",
      message: `the broker is out of descriptors: ${error.message}`,
    });
  }
}

/** How often a call may find that it has to wait: what it waits for can change meanwhile, but not for ever. */
const MAX_TURNS = 8;

/**
 * Tries `act`, and when that has to wait for something, again after it. Only this caller waits; if it goes, nothing is
 * done for it.
 */
export function patiently(
  session: Session,
  takeover: { over(): Promise<void> },
  act: () => Answer | Refusal | Waiting,
): Answer | Later {
  const first = outcome(act);
  if (!("until" in first)) return first;
  return (settle) => {
    const failed = (error: unknown): Answer =>
      refusal({ kind: "no-root", berth: first.berth, message: error instanceof Error ? error.message : String(error) });
    void turns(session, takeover, act, first).catch(failed).then(settle);
  };
}

/** Undefined when nobody is there any more to be answered. */
async function turns(
  session: Session,
  takeover: { over(): Promise<void> },
  act: () => Answer | Refusal | Waiting,
  { berth, until }: Waiting,
  left = MAX_TURNS,
): Promise<Answer | undefined> {
  const problem = await until;
  await takeover.over();
  if (session.closed) return undefined;
  if (problem !== undefined || left === 0) {
    const message = problem ?? "what it is made of changes all the time; try again";
    return refusal({ kind: "no-root", berth, message });
  }
  const next = outcome(act);
  return "until" in next ? await turns(session, takeover, act, next, left - 1) : next;
}

function outcome(act: () => Answer | Refusal | Waiting): Answer | Waiting {
  const result = guarded(act);
  if (!("kind" in result) || result.kind === "waiting") return result;
  return refusal(result);
}
