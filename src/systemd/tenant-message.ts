/**
 * Reads a server's sd_notify(3) message: lines of NAME=VALUE. It keeps the variables that the broker uses, and ignores
 * all other lines, as systemd does. Pure.
 */

/** One message. */
export interface TenantMessage {
  readonly ready: boolean;
  readonly stopping: boolean;
  /** A sentence for people; empty clears it. */
  readonly status?: string;
  /** The server is alive, or asks to be treated as hung. */
  readonly watchdog?: "alive" | "trigger";
  /** The watchdog interval that the server asks for, in microseconds; 0 ends the watchdog. */
  readonly watchdogTime?: number;
  /** How many play, and how many can; "unknown": the server does not know any more. */
  readonly players?: { readonly count: number; readonly max?: number } | "unknown";
  /** Stash the descriptors of this message for the next tenant, under `name`. */
  readonly store: boolean;
  /** Close the descriptors stashed under `name`. */
  readonly storeRemove: boolean;
  readonly name?: string;
  /** Close the descriptor of this message once earlier messages are handled (sd_notify_barrier(3)). */
  readonly barrier: boolean;
}

/** A longer status is cut to this many characters. */
const MAX_STATUS = 1024;
/** As in a report of players: more than any server has. */
const MOST_PLAYERS = 1_000_000;

/** Reads a message. If a name occurs twice, the first one counts (as in systemd, src/core/service.c). */
export function readTenantMessage(bytes: Uint8Array): TenantMessage {
  const values = new Map<string, string>();
  for (const line of Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    .toString("utf8")
    .split(/[\n\0]/)) {
    const equals = line.indexOf("=");
    const name = line.slice(0, Math.max(0, equals));
    if (name !== "" && !values.has(name)) values.set(name, line.slice(equals + 1));
  }
  const status = values.get("STATUS")?.slice(0, MAX_STATUS);
  const watchdog = values.get("WATCHDOG");
  const time = values.get("WATCHDOG_USEC");
  const name = values.get("FDNAME");
  return {
    ready: values.get("READY") === "1",
    stopping: values.get("STOPPING") === "1",
    ...(status !== undefined && { status }),
    ...(watchdog === "1" && { watchdog: "alive" as const }),
    ...(watchdog === "trigger" && { watchdog: "trigger" as const }),
    ...(time !== undefined && /^\d{1,15}$/.test(time) && { watchdogTime: Number(time) }),
    ...playersOf(values.get("X_BERTHD_PLAYERS")),
    store: values.get("FDSTORE") === "1",
    storeRemove: values.get("FDSTOREREMOVE") === "1",
    barrier: values.get("BARRIER") === "1",
    ...(name !== undefined && { name }),
  };
}

/** `7`, `7/16`, or nothing for unknown. Ignores any other text, and numbers above a million. */
function playersOf(text: string | undefined): Pick<TenantMessage, "players"> {
  if (text === undefined) return {};
  if (text === "") return { players: "unknown" };
  const [, count, max] = /^(\d{1,7})(?:\/(\d{1,7}))?$/.exec(text) ?? [];
  if (count === undefined || Math.max(Number(count), Number(max ?? 0)) > MOST_PLAYERS) return {};
  return { players: { count: Number(count), ...(max !== undefined && { max: Number(max) }) } };
}
