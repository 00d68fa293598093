/**
 * What a server says to its service manager, sd_notify(3): lines of NAME=VALUE, of which only those are taken up that
 * the broker acts on. Pure; whatever is no such line is passed over, as systemd does.
 */

/** One message. */
export interface TenantMessage {
  readonly ready: boolean;
  readonly stopping: boolean;
  /** A sentence for people; empty clears it. */
  readonly status?: string;
  /** It is alive; or it has found out by itself that it is not well. */
  readonly watchdog?: "alive" | "trigger";
  /** Microseconds it wants to be given from now on; 0 ends the watch. */
  readonly watchdogTime?: number;
  /** The descriptors of this message are to be kept for a successor, under `name`. */
  readonly store: boolean;
  /** Those kept under `name` are to be closed. */
  readonly storeRemove: boolean;
  readonly name?: string;
}

/** Characters of a status that are kept: it is shown in a line. */
const MAX_STATUS = 1024;

/** Reads a message. Of a name that occurs twice, the first counts (as in systemd, src/core/service.c). */
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
    store: values.get("FDSTORE") === "1",
    storeRemove: values.get("FDSTOREREMOVE") === "1",
    ...(name !== undefined && { name }),
  };
}
