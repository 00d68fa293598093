/**
 * What a broker must know about a lease of an earlier broker, besides the tenant's pidfd. It is one page of memory in
 * the service manager's store, next to the pidfd. One write(2) replaces all of it, so a broker that is killed while it
 * writes leaves either the old or the new facts. Pure.
 */

/** A page: written as a whole, zeros behind the text. */
export const RECORD_SIZE = 4096;

/** Its server is to end. */
export interface DrainFacts {
  /** When that was asked for, in microseconds since 1970. */
  readonly began: number;
  /** When the server is stopped at the latest, by {@link bootTime}. Undefined: only when nobody plays. */
  readonly deadline: number | undefined;
  /** Who asked for it: the server is ended with that user's rights. */
  readonly uid: number;
  readonly privileged: boolean;
  /** New joins wait for the next server. */
  readonly queues?: true;
  /** And those who can be told are told so instead. */
  readonly refuses?: true;
}

export interface LeaseFacts {
  /** The number at connect, for messages. The pidfd identifies the process. */
  readonly pid: number;
  readonly uid: number;
  readonly unit: string | undefined;
  /** The inode of its network namespace when it took the berth. Older brokers did not note it. */
  readonly network?: number | undefined;
  /** Its control group, if it had that for itself. */
  readonly cgroup?: string | undefined;
  /** When it was granted, in microseconds since 1970. Older brokers did not note it. */
  readonly since?: number | undefined;
  /** The tenant reported that it serves. */
  readonly ready: boolean;
  /** It is the newcomer's lease in a handover. */
  readonly incoming: boolean;
  /** Absent: its server is not to end. */
  readonly drain?: DrainFacts | undefined;
}

export function encodeLeaseFacts(facts: LeaseFacts): Buffer {
  const { pid, uid, unit, network, cgroup, since, ready, incoming, drain } = facts;
  const page = Buffer.alloc(RECORD_SIZE);
  page.write(JSON.stringify({ pid, uid, unit, network, cgroup, since, ready, incoming, drain }));
  return page;
}

/** The facts of a page; undefined when it has none. */
export function decodeLeaseFacts(page: Uint8Array): LeaseFacts | undefined {
  const end = page.indexOf(0);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(page.subarray(0, end < 0 ? page.length : end)).toString());
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { pid, uid, unit, network, cgroup, since, ready, incoming, drain } = value as Record<string, unknown>;
  if (typeof pid !== "number" || typeof uid !== "number" || typeof ready !== "boolean") return undefined;
  if (typeof incoming !== "boolean" || (unit !== undefined && typeof unit !== "string")) return undefined;
  if (cgroup !== undefined && typeof cgroup !== "string") return undefined;
  return {
    ...{ pid, uid, unit, cgroup, ready, incoming },
    ...(typeof network === "number" && { network }),
    ...(typeof since === "number" && { since }),
    ...drainOf(drain),
  };
}

/** Without what cannot be read: then the server is not to end. */
function drainOf(value: unknown): { readonly drain?: DrainFacts } {
  if (typeof value !== "object" || value === null) return {};
  const { began, deadline, uid, privileged, queues, refuses } = value as Record<string, unknown>;
  if (typeof began !== "number" || typeof uid !== "number" || typeof privileged !== "boolean") return {};
  if (deadline !== undefined && typeof deadline !== "number") return {};
  const facts: DrainFacts = { began, deadline, uid, privileged };
  return { drain: { ...facts, ...(queues === true && { queues }), ...(refuses === true && { refuses }) } };
}
