/**
 * Carries out plans on sockets that a tenant has or had. A tenant can have the kernel hold a socket's lock for ever, so
 * each batch of calls is one round of a guard process, never a call of this one.
 */
import type { Guard, GuardCall, GuardResult, Owner } from "../guard/guard.ts";
import { guardCall, socketResult } from "./guard-calls.ts";
import type { PlannedCall, SocketPlan } from "./socket-call.ts";

/** What a guard does for a plan. */
export type PlanGuard = Pick<Guard, "run">;

/** What it does for many. */
export type PlansGuard = Pick<Guard, "ask">;

/** Why a plan did not come to its end: as {@link Guard.ask}. */
export type Unanswered = "stuck" | "unavailable";

/**
 * A borrowed socket: a number that stays open until its plan has ended, or what gives it for each round; undefined when
 * it is another socket's by then.
 */
export type Borrowed = number | Lent;
type Lent = () => number | undefined;

/** Lends a socket that may be closed or opened again before the plan has ended. */
export function lend(socket: { readonly open: boolean; readonly inode: bigint; readonly fd: number }): Lent {
  const { inode } = socket;
  return () => (socket.open && socket.inode === inode ? socket.fd : undefined);
}

/** Carries out a plan on a borrowed socket. "unavailable" also if that is gone: then the rest is not carried out. */
export async function runGuarded<T>(
  plan: SocketPlan<T>,
  fd: Borrowed,
  guard: PlanGuard,
  owner: Owner,
): Promise<{ readonly value: T } | Unanswered> {
  let step = plan.next();
  while (step.done !== true) {
    const calls = step.value;
    const number = typeof fd === "number" ? fd : fd();
    if (number === undefined) return "unavailable";
    const results = await guard.run(
      owner,
      [number],
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
  readonly fd: Lent;
  readonly plan: SocketPlan<void>;
}

/** The calls that set everything of so many sockets back have room in one message. */
const MOST_SOCKETS = 8;

/** Why plans did not come to their end, or "done": each was carried out or dropped. */
export type PlansOutcome = "done" | Unanswered;

/**
 * Carries out plans of one owner's sockets in as few rounds as the longest has, and calls `hear` once, now or later.
 * If it is not "done", some were not carried out. `onFreed` is as {@link Guard.ask} calls it.
 */
export function tendAll(
  planned: readonly Planned[],
  guard: PlansGuard,
  owner: Owner,
  hear: (outcome: PlansOutcome) => void,
  onFreed?: () => void,
): void {
  const round = (steps: readonly Step[], rest: readonly Planned[]): void => {
    const open: OpenStep[] = [];
    for (const step of steps) {
      const number = step.fd();
      if (number !== undefined) open.push({ fd: step.fd, plan: step.plan, calls: step.calls, number });
    }
    if (open.length === 0) return some(rest);
    const calls: GuardCall[] = [];
    open.forEach((step, index) => {
      for (const call of step.calls) calls.push(guardCall(call, index));
    });
    const answered = (results: readonly GuardResult[] | Unanswered): void => {
      if (typeof results === "string") hear(results);
      else round(nextSteps(open, results), rest);
    };
    guard.ask(
      owner,
      open.map(({ number }) => number),
      calls,
      answered,
      onFreed,
    );
  };
  const some = (left: readonly Planned[]): void => {
    if (left.length === 0) return hear("done");
    const steps: Step[] = [];
    for (const { fd, plan } of left.slice(0, MOST_SOCKETS)) {
      const step = plan.next();
      if (step.done !== true) steps.push({ fd, plan, calls: step.value });
    }
    round(steps, left.slice(MOST_SOCKETS));
  };
  some(planned);
}

/** As {@link tendAll}, as a promise, and without `onFreed`. */
export function runAllGuarded(planned: readonly Planned[], guard: PlansGuard, owner: Owner): Promise<PlansOutcome> {
  return new Promise((resolve) => tendAll(planned, guard, owner, resolve));
}

/** What a plan wants to have called next. */
interface Step extends Planned {
  readonly calls: readonly PlannedCall[];
}

interface OpenStep extends Step {
  readonly number: number;
}

function nextSteps(round: readonly OpenStep[], results: readonly GuardResult[]): Step[] {
  const steps: Step[] = [];
  let at = 0;
  for (const { fd, plan, calls } of round) {
    const start = at;
    at += calls.length;
    // It was closed meanwhile: the rest of its plan is not carried out.
    if (fd() === undefined) continue;
    const step = plan.next(calls.map((call, index) => socketResult(call, results[start + index])));
    if (step.done !== true) steps.push({ fd, plan, calls: step.value });
  }
  return steps;
}
