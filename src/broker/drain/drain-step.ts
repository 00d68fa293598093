/** Decides what a drain does next: stop the server, or look again later. Pure. Times are milliseconds of one clock. */

export interface DrainLimits {
  /** Without other knowledge, nobody plays if there has been no traffic for so long. */
  readonly quiet: number;
  /** How often the traffic is looked at. */
  readonly look: number;
}

export const DEFAULT_DRAIN_LIMITS: DrainLimits = { quiet: 60_000, look: 5000 };

/** What is known of who plays. current: since the drain began, or from the server itself. */
export interface KnownPlayers {
  readonly count: number;
  readonly isCurrent: boolean;
}

export interface DrainFactsNow {
  readonly now: number;
  readonly deadline: number | undefined;
  /** The last time that traffic was seen; undefined where traffic cannot be seen. */
  readonly lastSeen: number | undefined;
  readonly players: KnownPlayers | undefined;
}

export type DrainStep =
  | { readonly kind: "stop"; readonly why: "empty" | "deadline" }
  | { readonly kind: "wait"; readonly milliseconds: number };

/** The deadline comes first. A number of players is believed before traffic: somebody may only look at the server. */
export function drainStep({ now, deadline, lastSeen, players }: DrainFactsNow, limits: DrainLimits): DrainStep {
  if (deadline !== undefined && now >= deadline) return { kind: "stop", why: "deadline" };
  if (isEmpty(now, lastSeen, players, limits)) return { kind: "stop", why: "empty" };
  const left = deadline === undefined ? limits.look : deadline - now;
  return { kind: "wait", milliseconds: Math.min(limits.look, left) };
}

function isEmpty(
  now: number,
  lastSeen: number | undefined,
  players: KnownPlayers | undefined,
  { quiet }: DrainLimits,
): boolean {
  // Somebody may have joined since an old report of nobody: then the traffic tells.
  if (players !== undefined && (players.count > 0 || players.isCurrent)) return players.count === 0;
  return lastSeen !== undefined && now - lastSeen >= quiet;
}
