/** Turns what a server bound into the configuration of a berth. Pure: binds in, TOML out. */
import { constants } from "node:os";
import { isLoopback } from "../../broker/bind/bind-match.ts";
import { findConflicts } from "../../config/conflicts.ts";
import { errnoName } from "../../errors.ts";
import { type Address, formatListenAddress, type ListenAddress, mappedIPv4 } from "../../net/address.ts";
import { printable } from "../../printable.ts";
import type { SeenBind } from "./recorder.ts";

const { EACCES, EADDRINUSE } = constants.errno;
/** Lower ports need privilege (ip(7)), so `other-binds = "loopback"` does not allow them. */
const FIRST_FREE_PORT = 1024;
/** A server that finds its port busy often tries the next ports, up to this distance. */
const HOPS = 10;

export interface Berth {
  readonly name: string;
  readonly command: readonly string[];
  readonly binds: readonly SeenBind[];
  /** Whether root ran the server: then the berth must name a user. */
  readonly isRoot: boolean;
}

/** A bind, and why it has no section of its own; `undefined` if it has one. */
interface Judged {
  readonly bind: SeenBind;
  readonly why: string | undefined;
}

/** The text of NAME.toml. It always loads without a problem. Undefined when no socket can be held. */
export function suggestBerth({ name, command, binds, isRoot }: Berth): string | undefined {
  const judged = judge(binds);
  const held = judged.filter(({ why }) => why === undefined).map(({ bind }) => bind);
  if (held.length === 0) return undefined;
  const others = explainOthers(binds);
  const needsLoopback = judged.some(({ why }) => why === loopback);
  return [
    `# ${printable(name)}.toml: what berth explain saw its server bind.`,
    ...sections(held),
    ...(others.length === 0 ? [] : ["", "# Seen, but not part of the berth:"]),
    ...others.map((line) => `# ${line}`),
    "",
    "[server]",
    `command = [${command.map((word) => tomlString(word)).join(", ")}]`,
    'deliver = ["bind"]',
    ...(needsLoopback ? ['other-binds = "loopback"'] : []),
    ...(isRoot ? ['# user = "…"  # whom it is to run as; berth run does not start a server as root'] : []),
    "",
  ].join("\n");
}

/** A line for each bind without a place in the configuration: why it needs none, or can have none. */
export function explainOthers(binds: readonly SeenBind[]): string[] {
  return judge(binds).flatMap(({ bind, why }) => (why === undefined ? [] : [`${title(bind)}: ${why}`]));
}

const loopback = 'reaches this host alone; other-binds = "loopback" below lets it through';

/** Each bind in the order seen. Sockets for more addresses are chosen first: they can replace the others. */
function judge(binds: readonly SeenBind[]): Judged[] {
  const wanted = binds.filter((bind) => reasonByItself(bind) === undefined);
  const isPublic = wanted.some(({ listen }) => !isLoopback(listen.address));
  const chosen: SeenBind[] = [];
  const reasons = new Map<SeenBind, string | undefined>();
  for (const bind of [...wanted].sort((a, b) => breadth(b) - breadth(a))) {
    const reason =
      isPublic && isOwnBusiness(bind.listen.address) ? loopback : (hopReason(bind, binds) ?? rivalReason(bind, chosen));
    if (reason === undefined) chosen.push(bind);
    reasons.set(bind, reason);
  }
  return binds.map((bind) => ({ bind, why: reasonByItself(bind) ?? reasons.get(bind) }));
}

function reasonByItself({ listen: { address }, error }: SeenBind): string | undefined {
  if (address.family === "unix") return "its own path or name, which needs no berth; add a section to hold it";
  if (error !== 0 && error !== EADDRINUSE && error !== EACCES)
    return `failed with ${errnoName(error)}; it would fail in a berth too`;
  if (address.port === 0) return "any free port will do, so this bind is never refused";
  return undefined;
}

function isOwnBusiness(address: Address): boolean {
  return address.family !== "unix" && isLoopback(address) && address.port >= FIRST_FREE_PORT;
}

function breadth({ listen: { address, dualStack }, error }: SeenBind): number {
  const isWildcard = address.family !== "unix" && (address.host === "::" || address.host === "0.0.0.0");
  // Binds that succeeded are chosen before those that failed.
  return (error === 0 ? 4 : 0) + (dualStack ? 2 : isWildcard ? 1 : 0);
}

/** A port that was bound only because another one was busy. */
function hopReason({ listen, error }: SeenBind, binds: readonly SeenBind[]): string | undefined {
  const { kind, address } = listen;
  if (error !== 0 || address.family === "unix") return undefined;
  const busy = binds.find(
    (other) =>
      other.error === EADDRINUSE &&
      other.listen.kind === kind &&
      other.listen.address.family === address.family &&
      other.listen.address.host === address.host &&
      address.port > other.listen.address.port &&
      address.port <= other.listen.address.port + HOPS,
  );
  return busy && `taken because ${formatListenAddress(busy.listen)} was busy, which does not happen in a berth`;
}

function rivalReason(bind: SeenBind, chosen: readonly SeenBind[]): string | undefined {
  const rival = chosen.find((other) => excludes(bind.listen, other.listen));
  if (rival === undefined) return undefined;
  const text = formatListenAddress(rival.listen);
  return rival.listen.address.family === bind.listen.address.family
    ? `gets the socket for ${text}`
    : `cannot be held beside ${text}; tell the server to use one of them`;
}

/** Uses the configuration's own rules, so the suggestion passes them. */
function excludes(a: ListenAddress, b: ListenAddress): boolean {
  const origin = { file: "", line: 0 };
  const socket = (listen: ListenAddress) => ({
    name: "",
    listen: [{ ...listen, origin }],
    options: { backlog: 1, v6only: !isMapped(listen), mode: 0 },
  });
  return findConflicts([{ name: "", sockets: [socket(a), socket(b)] }]).length > 0;
}

function isMapped({ address }: ListenAddress): boolean {
  return address.family === "ipv6" && mappedIPv4(address.host) !== undefined;
}

/** One section for each port: game, game-2 … */
function sections(binds: readonly SeenBind[]): string[] {
  const groups = new Map<string, SeenBind[]>();
  for (const bind of binds) {
    const { address } = bind.listen;
    const key = `${address.family === "unix" ? "" : address.port} ${isMapped(bind.listen)}`;
    groups.set(key, [...(groups.get(key) ?? []), bind]);
  }
  return [...groups.values()].flatMap((group, index) => [
    "",
    `[sockets.${index === 0 ? "game" : `game-${index + 1}`}]`,
    ...group.flatMap(notes),
    `listen = [${group.map(({ listen }) => tomlString(formatListenAddress(listen))).join(", ")}]`,
    ...(group.some(({ listen }) => isMapped(listen)) ? ["v6only = false"] : []),
  ]);
}

function notes(bind: SeenBind): string[] {
  const options = Object.entries(bind.options).map(([name, words]) =>
    words.length > 1 ? name : `${name}=${words[0]}`,
  );
  const carried = options.length === 0 ? "" : `: ${options.join(" ")}, carried over`;
  return [
    `# ${title(bind)}${carried}`,
    ...(bind.error === EADDRINUSE
      ? ["#   busy now (EADDRINUSE): stop the program that has it before the broker starts"]
      : []),
    ...(bind.error === EACCES ? ["#   you may not bind it (EACCES), but a broker that runs as root may"] : []),
    ...Object.entries(bind.fixedAtBind).map(([key, value]) => {
      const text = typeof value === "string" ? tomlString(value) : String(value);
      return `#   it set this too, which is fixed at bind(2); add it if you want it: ${key} = ${text}`;
    }),
  ];
}

function title({ listen, program, count }: SeenBind): string {
  return `${printable(formatListenAddress(listen))} by ${printable(program)}${count > 1 ? `, ${count} times` : ""}`;
}

/** The text as a basic string of TOML. Escapes `%`, which begins a specifier, and control characters. */
function tomlString(text: string): string {
  return JSON.stringify(text.replaceAll("%", "%%")).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, "0")}`;
  });
}
