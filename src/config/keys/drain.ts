/** `server.drain` and its kin: what becomes of new joins while a berth drains, and what its server is told. Pure. */
import type { ListenAddress } from "../../net/address.ts";
import { JOIN_PROTOCOLS, joinShapes } from "../../net/join-shapes.ts";
import { type Reader, refuse, word } from "../toml/reader.ts";
import { type Context, type DefaultedKey, type Key, present, type Section } from "../toml/section.ts";
import { scalarOf } from "../toml/tree.ts";
import { consoleLine } from "./console-line.ts";
import { signalName } from "./signal-name.ts";
import type { DrainMode, ServerSpec, SocketSpec } from "./spec.ts";

const known = word<DrainMode>("serve", "queue");

const mode: Reader<DrainMode> = (value, reading) => {
  if (scalarOf(value) !== "refuse") return known(value, reading);
  const remedy = 'write drain = "queue": clients try again until the next server takes them';
  return refuse(value, reading, "available: berthd cannot turn new joins away while others play on", remedy);
};

interface DrainKeys {
  readonly drain: DefaultedKey<DrainMode>;
  readonly drainSignal: Key<number>;
  readonly drainCommand: Key<string>;
}

export const drainKeys: DrainKeys = {
  drain: { name: "drain", type: '"serve" or "queue"', read: mode, fallback: "serve", default: '"serve"' },
  drainSignal: { name: "drain-signal", type: "signal name", read: signalName, default: "none" },
  drainCommand: { name: "drain-command", type: "string", read: consoleLine, default: "none" },
};

/** What decides whether the keys make sense. */
export interface DrainedServer {
  readonly console: boolean;
  readonly sockets: readonly SocketSpec[];
  /** How the server is asked who plays, and who answers for it while it sleeps. */
  readonly protocols: readonly (string | undefined)[];
}

/** What a `[server]` table says of drains. */
export function readDrain(
  section: Section,
  server: DrainedServer,
  context: Context,
): Pick<ServerSpec, "drain" | "drainSignal" | "drainCommand"> {
  const drain = section.value(drainKeys.drain);
  checkJoins(section, drain, server, context);
  checkCommand(section, server, context);
  return {
    drain,
    ...present({
      drainSignal: section.optional(drainKeys.drainSignal),
      drainCommand: section.optional(drainKeys.drainCommand),
    }),
  };
}

/** Some joins must be such that they can wait. */
function checkJoins(
  { table }: Section,
  drain: DrainMode,
  { sockets, protocols }: DrainedServer,
  { report }: Context,
): void {
  const written = table.entries.get(drainKeys.drain.name);
  if (written === undefined || drain !== "queue" || sockets.length === 0) return;
  if (sockets.some(({ listen }) => listen.some((one) => canQueue(one, protocols)))) return;
  const message = 'server.drain = "queue" can hold no joins back: berthd does not know how a client joins this server';
  const remedy = `add query = { type = "…" }, or asleep, with one of ${JOIN_PROTOCOLS.join(", ")}, or remove drain`;
  report(written.origin, message, remedy);
}

/** Whether joins of a socket can be told from other packets. */
function canQueue({ kind, address }: ListenAddress, protocols: DrainedServer["protocols"]): boolean {
  return address.family !== "unix" && (kind !== "datagram" || joinShapes(...protocols) !== undefined);
}

/** A command is typed on the console. */
function checkCommand({ table }: Section, { console }: DrainedServer, { report }: Context): void {
  const written = table.entries.get(drainKeys.drainCommand.name);
  if (written === undefined || console) return;
  const remedy = "add console = true, or remove drain-command";
  report(written.origin, "server.drain-command is typed on the server's console, and it has none", remedy);
}
