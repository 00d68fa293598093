/** `server.asleep` and its kin: who answers for a server on demand while it does not run, and what starts it. Pure. */
import { isIP } from "node:net";
import { duration, integer, listOf, type Reader, refuse, text, word } from "../toml/reader.ts";
import type { Context, DefaultedKey, Key, Section } from "../toml/section.ts";
import { suggest } from "../toml/suggest.ts";
import type { Value } from "../toml/tree.ts";
import type { AsleepAs, AsleepProtocol, AsleepSpec, SocketSpec, StartMode, WakeMode } from "./spec.ts";

const EXAMPLE = 'write { name = "My server", map = "q3dm17", slots = 16 }';
/** Signed 32 bits, as the clients have it. */
const number = integer(0, 0x7fffffff);
const texts = ["name", "map", "game", "version"];
const numbers = ["slots", "protocol"];
const asKeys = [...texts, ...numbers];
const LONGEST = 256;
/** One message to the doorman has them all. */
const MOST_NETWORKS = 200;
const DAY = 24 * 3600;
/** A client of Minecraft Java gives up after 30 seconds. */
const LONGEST_HOLD = 28;

const asleepAs: Reader<AsleepAs> = (value, reading) => {
  if (value.kind !== "table") return refuse(value, reading, "a table", EXAMPLE);
  const read: Record<string, string | number> = {};
  for (const [name, entry] of value.entries) {
    const within = { ...reading, label: `${reading.label}.${name}` };
    if (!asKeys.includes(name)) {
      reading.report(entry.origin, `${reading.label} has no key "${name}"`, suggest(name, asKeys));
      continue;
    }
    const found = texts.includes(name) ? text(entry, within) : number(entry, within);
    if (typeof found === "string" && found.length > LONGEST)
      reading.report(entry.origin, `${within.label} is longer than ${LONGEST} characters`, "shorten it");
    if (found !== undefined) read[name] = found;
  }
  return read;
};

const network: Reader<string> = (value, reading) => {
  const written = text(value, reading);
  if (written === undefined) return undefined;
  const [, host = "", bits = ""] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(written) ?? [];
  const most = { 4: 32, 6: 128 }[isIP(host)];
  if (most !== undefined && Number(bits) <= most) return written;
  return refuse(value, reading, "ADDRESS/BITS", 'write it as in "192.0.2.0/24" or "2001:db8::/32"');
};

export const asleepKeys: {
  readonly asleep: DefaultedKey<AsleepProtocol | "none">;
  readonly asleepAs: DefaultedKey<AsleepAs>;
  readonly wake: DefaultedKey<WakeMode>;
  readonly knownNetworks: DefaultedKey<readonly string[]>;
  readonly discardAfter: DefaultedKey<number>;
  readonly holdLogin: Key<number>;
} = {
  asleep: {
    name: "asleep",
    type: '"a2s", "quake3", "minecraft", "bedrock", "teeworlds" or "none"',
    read: word<AsleepProtocol | "none">("a2s", "quake3", "minecraft", "bedrock", "teeworlds", "none"),
    fallback: "none",
    default: '"none"',
  },
  asleepAs: { name: "asleep-as", type: "table", read: asleepAs, fallback: {}, default: "{}" },
  wake: {
    name: "wake",
    type: '"join", "known-address" or "any"',
    read: word<WakeMode>("join", "known-address", "any"),
    fallback: "join",
    default: '"join"',
  },
  knownNetworks: {
    name: "known-networks",
    type: "array of networks",
    read: listOf(network),
    fallback: [],
    default: "[]",
  },
  discardAfter: { name: "discard-after", type: "duration", read: duration(DAY), fallback: 30, default: '"30s"' },
  holdLogin: { name: "hold-login", type: "duration", read: duration(LONGEST_HOLD), default: "none" },
};

const isEmpty = (value: Value): boolean => value.kind === "list" && value.items.length === 0;

/** Minecraft's Java edition joins by TCP, and all others by UDP only. */
const byTcp: readonly string[] = ["minecraft"];

/** Whether a player can join by one of the sockets. */
function hasDoor(protocol: AsleepProtocol, sockets: readonly SocketSpec[]): boolean {
  return sockets.some(({ listen }) =>
    listen.some(
      ({ kind, address: { family } }) => family !== "unix" && (kind === "datagram" || byTcp.includes(protocol)),
    ),
  );
}

/**
 * Why no login can be held, and the remedy. With `defer-accept` a login comes in the packet that completes the
 * handshake, and nothing tells that one from a forged one (net/arrival-program.ts).
 */
function holdProblem(
  protocol: AsleepProtocol | "none",
  sockets: readonly SocketSpec[],
): readonly [message: string, remedy: string] | undefined {
  const byTheKey = `remove ${asleepKeys.holdLogin.name}`;
  const tcp = sockets.filter(({ listen }) =>
    listen.some(({ kind, address: { family } }) => kind === "stream" && family !== "unix"),
  );
  if (!byTcp.includes(protocol) || tcp.length === 0)
    return ["server.hold-login is for Minecraft Java, whose players join by TCP", byTheKey];
  if (tcp.some(({ options }) => options.deferAccept === undefined)) return undefined;
  return ["server.hold-login holds no login at a socket with defer-accept", `${byTheKey}, or defer-accept`];
}

/** A doorman answers only for a server that starts on demand, and only one with a protocol. */
export function readAsleep(
  section: Section,
  { start, sockets }: { readonly start: StartMode; readonly sockets: readonly SocketSpec[] },
  { report }: Context,
): AsleepSpec | undefined {
  const { table } = section;
  const protocol = section.value(asleepKeys.asleep);
  const written = table.entries.get(asleepKeys.asleep.name);
  if (written !== undefined && protocol !== "none" && start !== "on-demand") {
    const remedy = 'add start = "on-demand", or remove asleep';
    report(written.origin, "server.asleep is for a server that starts on demand, and this one does not", remedy);
  } else if (written !== undefined && protocol !== "none" && sockets.length > 0 && !hasDoor(protocol, sockets)) {
    const [kind, remedy] = byTcp.includes(protocol) ? ["tcp or udp", "a tcp:// address"] : ["udp", "a udp:// address"];
    report(
      written.origin,
      `server.asleep = "${protocol}" needs a ${kind} socket, and the berth has none: no player could start the server`,
      `add ${remedy} to listen, or remove asleep`,
    );
  }
  for (const { name } of Object.values(asleepKeys)) {
    const entry = table.entries.get(name);
    if (entry === undefined || written !== undefined) continue;
    report(
      entry.origin,
      `server.${name} does nothing without server.asleep`,
      `add asleep = "${name === asleepKeys.holdLogin.name ? "minecraft" : "quake3"}", or remove ${name}`,
    );
  }
  const wake = section.value(asleepKeys.wake);
  const networks = section.value(asleepKeys.knownNetworks);
  const known = table.entries.get(asleepKeys.knownNetworks.name);
  const wakeWritten = table.entries.get(asleepKeys.wake.name);
  if (wakeWritten !== undefined && wake === "known-address" && (known === undefined || isEmpty(known)))
    report(
      wakeWritten.origin,
      'server.wake = "known-address" without a network lets nobody start the server',
      'add known-networks = ["192.0.2.0/24"]',
    );
  if (known !== undefined && networks.length > MOST_NETWORKS)
    report(known.origin, `server.known-networks has more than ${MOST_NETWORKS} networks`, "join some of them");
  if (known !== undefined && written !== undefined && wake !== "known-address") {
    const remedy = 'add wake = "known-address", or remove known-networks';
    report(known.origin, 'server.known-networks does nothing without wake = "known-address"', remedy);
  }
  const hold = table.entries.get(asleepKeys.holdLogin.name);
  if (hold !== undefined && written !== undefined) {
    const problem = holdProblem(protocol, sockets);
    if (problem !== undefined) report(hold.origin, ...problem);
  }
  if (protocol === "none") return undefined;
  return {
    protocol,
    wake,
    networks,
    as: section.value(asleepKeys.asleepAs),
    discardAfter: section.value(asleepKeys.discardAfter),
    holdLogin: section.optional(asleepKeys.holdLogin),
  };
}
