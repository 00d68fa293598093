/**
 * Carries out plans on sockets that a tenant has or had. A tenant can have the kernel hold a socket's lock for ever, so
 * each batch of calls is one round of a guard process, never a call of this one.
 */
import type { Guard, Owner } from "../guard/guard.ts";
import { guardCall, socketResult } from "./guard-calls.ts";
import type { SocketPlan } from "./socket-call.ts";

/** What a guard does for a plan. */
export type PlanGuard = Pick<Guard, "run">;

/** Why a plan did not come to its end: as {@link Guard.run}. */
export type Unanswered = "stuck" | "unavailable";

/** Carries out a plan on a borrowed socket, which must stay open until this resolves. */
export async function runGuarded<T>(
  plan: SocketPlan<T>,
  fd: number,
  guard: PlanGuard,
  owner: Owner,
): Promise<{ readonly value: T } | Unanswered> {
  let step = plan.next();
  while (step.done !== true) {
    const calls = step.value;
    const results = await guard.run(
      owner,
      [fd],
      calls.map((call) => guardCall(call, 0)),
    );
    if (typeof results === "string") return results;
    step = plan.next(calls.map((call, index) => socketResult(call, results[index])));
  }
  return { value: step.value };
}

/** A socket of several and what is planned for it. */
export interface Planned {
  /** Its descriptor at this moment; undefined when it was closed: then the plan is dropped. */
  readonly fd: () => number | undefined;
  readonly plan: SocketPlan<void>;
}

/** The calls that set everything of so many sockets back have room in one message. */
const MOST_SOCKETS = 8;

/**
 * Carries out plans of one owner's sockets in as few rounds as the longest has. "done": each was carried out or
 * dropped. Else some were not. `onFreed` is as {@link Guard.run} calls it.
 */
export async function runAllGuarded(
  planned: readonly Planned[],
  guard: PlanGuard,
  owner: Owner,
  onFreed?: () => void,
): Promise<"done" | Unanswered> {
  for (let at = 0; at < planned.length; at += MOST_SOCKETS) {
    const result = await runSome(planned.slice(at, at + MOST_SOCKETS), guard, owner, onFreed);
    if (result !== "done") return result;
  }
  return "done";
}

async function runSome(
  planned: readonly Planned[],
  guard: PlanGuard,
  owner: Owner,
  onFreed: (() => void) | undefined,
): Promise<"done" | Unanswered> {
  let steps = planned.flatMap(({ fd, plan }) => {
    const step = plan.next();
    return step.done === true ? [] : [{ fd, plan, calls: step.value }];
  });
  for (;;) {
    const round = steps.flatMap((step) => {
      const fd = step.fd();
      return fd === undefined ? [] : [{ ...step, number: fd }];
    });
    if (round.length === 0) return "done";
    const fds = round.map(({ number }) => number);
    const calls = round.flatMap((step, index) => step.calls.map((call) => guardCall(call, index)));
    const results = await guard.run(owner, fds, calls, onFreed);
    if (typeof results === "string") return results;
    let at = 0;
    steps = round.flatMap(({ fd, plan, calls: asked }) => {
      const answers = asked.map((call, index) => socketResult(call, results[at + index]));
      at += asked.length;
      // It was closed meanwhile: the rest of its plan is not carried out.
      if (fd() === undefined) return [];
      const step = plan.next(answers);
      return step.done === true ? [] : [{ fd, plan, calls: step.value }];
    });
  }
}
