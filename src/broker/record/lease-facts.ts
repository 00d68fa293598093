/**
 * What a broker must know of a lease that an earlier broker gave, beside its tenant's pidfd. It stands in one page of
 * memory, in the service manager's store with the pidfd: one write(2) replaces all of it, so that a broker which is
 * killed while it writes leaves the old facts or the new ones. Pure.
 */

/** A page: written as a whole, zeros behind the text. */
export const RECORD_SIZE = 4096;

export interface LeaseFacts {
  /** As it was at connect; to be named where the process is gone. The pidfd says who it is. */
  readonly pid: number;
  readonly uid: number;
  readonly unit: string | undefined;
  /** It has said that it serves. */
  readonly ready: boolean;
  /** It is to take over from the tenant there is. */
  readonly incoming: boolean;
}

export function encodeLeaseFacts({ pid, uid, unit, ready, incoming }: LeaseFacts): Buffer {
  const page = Buffer.alloc(RECORD_SIZE);
  page.write(JSON.stringify({ pid, uid, unit, ready, incoming }));
  return page;
}

/** The facts of a page; undefined when it holds none. */
export function decodeLeaseFacts(page: Uint8Array): LeaseFacts | undefined {
  const end = page.indexOf(0);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(page.subarray(0, end < 0 ? page.length : end)).toString());
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { pid, uid, unit, ready, incoming } = value as Record<string, unknown>;
  if (typeof pid !== "number" || typeof uid !== "number" || typeof ready !== "boolean") return undefined;
  if (typeof incoming !== "boolean" || (unit !== undefined && typeof unit !== "string")) return undefined;
  return { pid, uid, unit, ready, incoming };
}
