/** `server.drain` and its kin: what becomes of new joins while a berth drains, and what its server is told. Pure. */
import type { ListenAddress } from "../../net/address.ts";
import { JOIN_PROTOCOLS, joinShapes, REFUSING_NAMES, refusingProtocol } from "../../net/join-shapes.ts";
import { type Reader, refuse, text, word } from "../toml/reader.ts";
import { type Context, type DefaultedKey, type Key, present, type Section } from "../toml/section.ts";
import { consoleLine } from "./console-line.ts";
import { signalName } from "./signal-name.ts";
import type { DrainMode, ServerSpec, SocketSpec } from "./spec.ts";

/** Bytes: what a protocol shows of it. With the time it is longer. */
const LONGEST_TEXT = 200;

const playerText: Reader<string> = (value, reading) => {
  const written = text(value, reading);
  if (written === undefined) return undefined;
  const isShowable = written.trim() !== "" && !/\p{Cc}/u.test(written) && Buffer.byteLength(written) <= LONGEST_TEXT;
  const expected = `one line of at most ${LONGEST_TEXT} bytes without control characters`;
  return isShowable ? written : refuse(value, reading, expected, 'write for example "Back {when}"');
};

interface DrainKeys {
  readonly drain: DefaultedKey<DrainMode>;
  readonly drainText: DefaultedKey<string>;
  readonly drainSignal: Key<number>;
  readonly drainCommand: Key<string>;
}

export const drainKeys: DrainKeys = {
  drain: {
    name: "drain",
    type: '"serve", "queue" or "refuse"',
    read: word<DrainMode>("serve", "queue", "refuse"),
    fallback: "serve",
    default: '"serve"',
  },
  drainText: {
    name: "drain-text",
    type: "string",
    read: playerText,
    fallback: "This server restarts {when}",
    default: '"This server restarts {when}"',
  },
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
): Pick<ServerSpec, "drain" | "drainText" | "drainSignal" | "drainCommand"> {
  const drain = section.value(drainKeys.drain);
  checkJoins(section, drain, server, context);
  checkText(section, drain, context);
  checkCommand(section, server, context);
  return {
    drain,
    drainText: section.value(drainKeys.drainText),
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
  if (written === undefined || drain === "serve" || sockets.length === 0) return;
  if (drain === "refuse" && !sockets.some(({ listen }) => listen.some((one) => canRefuse(one, protocols)))) {
    const message = 'server.drain = "refuse" can tell players of this server nothing';
    const protocol = refusingProtocol(...protocols);
    const remedy = `query = { type = "…" }, or asleep, with one of ${REFUSING_NAMES.join(", ")}`;
    const address = `a ${protocol === "minecraft" ? "tcp" : "udp"}:// address to listen`;
    report(written.origin, message, `add ${protocol === undefined ? remedy : address}, or write drain = "queue"`);
  }
  if (drain !== "queue") return;
  if (sockets.some(({ listen }) => listen.some((one) => canQueue(one, protocols)))) return;
  const message = 'server.drain = "queue" can hold no joins back: berthd does not know how a client joins this server';
  const remedy = `add query = { type = "…" }, or asleep, with one of ${JOIN_PROTOCOLS.join(", ")}, or remove drain`;
  report(written.origin, message, remedy);
}

/** Whether joins of a socket can be told from other packets. */
function canQueue({ kind, address }: ListenAddress, protocols: DrainedServer["protocols"]): boolean {
  return address.family !== "unix" && (kind !== "datagram" || joinShapes(...protocols) !== undefined);
}

/** Whether players who join at a socket can be told why they do not get in. */
function canRefuse({ kind, address }: ListenAddress, protocols: DrainedServer["protocols"]): boolean {
  const protocol = refusingProtocol(...protocols);
  if (protocol === undefined || address.family === "unix") return false;
  return kind === (protocol === "minecraft" ? "stream" : "datagram");
}

/** Players read the text where they are turned away. */
function checkText({ table }: Section, drain: DrainMode, { report }: Context): void {
  const written = table.entries.get(drainKeys.drainText.name);
  if (written === undefined || drain === "refuse") return;
  const remedy = 'add drain = "refuse", or remove drain-text';
  report(written.origin, 'server.drain-text does nothing without drain = "refuse"', remedy);
}

/** A command is typed on the console. */
function checkCommand({ table }: Section, { console }: DrainedServer, { report }: Context): void {
  const written = table.entries.get(drainKeys.drainCommand.name);
  if (written === undefined || console) return;
  const remedy = "add console = true, or remove drain-command";
  report(written.origin, "server.drain-command is typed on the server's console, and it has none", remedy);
}
