/** Retries a call that has to wait, for example for a root that is being built. Turns scarcity into a refusal. */
import { isScarcity } from "../../errors.ts";
import type { Answer, Later } from "../../varlink/service.ts";
import type { Refusal, Waiting } from "../berths/request.ts";
import { refusal } from "./refusals.ts";
import type { Session } from "./session.ts";

/**
 * Runs `act`. Out of descriptors or memory: the caller gets LimitReached. Any other error is a defect and is thrown.
 */
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

/** How often one call is retried: the configuration can change while it waits. */
const MAX_RETRIES = 8;

/**
 * Runs `act`, and runs it again after each wait that it asks for. Other callers are served meanwhile. If the caller
 * disconnects, the call is dropped.
 */
export function retrying(
  session: Session,
  takeover: { over(): Promise<void> },
  act: () => Answer | Refusal | Waiting,
): Answer | Later {
  const first = outcome(act);
  if (!("until" in first)) return first;
  return (reply) => {
    const failed = (error: unknown): Answer =>
      refusal({ kind: "no-root", berth: first.berth, message: error instanceof Error ? error.message : String(error) });
    void retryAfter(session, takeover, act, first).catch(failed).then(reply);
  };
}

/** Waits, then runs `act` again. Undefined when the caller has disconnected. */
async function retryAfter(
  session: Session,
  takeover: { over(): Promise<void> },
  act: () => Answer | Refusal | Waiting,
  { berth, until }: Waiting,
  left = MAX_RETRIES,
): Promise<Answer | undefined> {
  const problem = await until;
  await takeover.over();
  if (session.closed) return undefined;
  if (problem !== undefined || left === 0) {
    const message = problem ?? "its configuration kept changing; try again";
    return refusal({ kind: "no-root", berth, message });
  }
  const next = outcome(act);
  return "until" in next ? await retryAfter(session, takeover, act, next, left - 1) : next;
}

function outcome(act: () => Answer | Refusal | Waiting): Answer | Waiting {
  const result = guarded(act);
  if (!("kind" in result) || result.kind === "waiting") return result;
  return refusal(result);
}
