/** Turns what a server bound into the configuration of a berth. Pure: binds in, TOML out. */
import { constants } from "node:os";
import { formatListenAddress } from "../../net/address.ts";
import { escapePlaceholders } from "../../placeholder.ts";
import { printable } from "../../printable.ts";
import { tomlString } from "../print/toml-string.ts";
import { isMapped, judge, title } from "./judgement.ts";
import type { SeenBind } from "./recorder.ts";

const { EACCES, EADDRINUSE } = constants.errno;
/** The most sockets of one address. A server has one for each processor or worker. */
const MAX_TOGETHER = 64;

export interface Berth {
  readonly name: string;
  /** The program as a path, so that it is found from everywhere, and its arguments. */
  readonly command: readonly string[];
  readonly binds: readonly SeenBind[];
  /** The folder that the server was started in. */
  readonly directory?: string | undefined;
  /** The user whom the server is to run as. */
  readonly user?: ServerUser | undefined;
}

export interface ServerUser {
  readonly name: string;
  /** Whether this user is to start the server as well: root may always. */
  readonly mayTake: boolean;
  /** Whether the server was run as another user, so that nobody knows whether it works as this one. */
  readonly isGuess: boolean;
}

/** The text of NAME.toml. It always loads without a problem. Undefined when no socket can be held. */
export function suggestBerth({ name, command, binds, directory, user }: Berth): string | undefined {
  const { held, others, otherBinds } = judge(binds, command);
  if (held.length === 0) return undefined;
  return [
    `# ${printable(name)}.toml: what berth explain saw its server bind.`,
    ...sections(held),
    ...(others.length === 0 ? [] : ["", "# Seen, but not part of the berth:"]),
    ...others.map((line) => `# ${line}`),
    ...(user?.mayTake ? ["", "[tenant]", `users = [${tomlString(user.name)}]`] : []),
    "",
    "[server]",
    `command = [${command.map((word) => tomlString(escapePlaceholders(word))).join(", ")}]`,
    ...(directory === undefined ? [] : [`directory = ${tomlString(directory)}`]),
    ...(user === undefined ? [] : userLines(user, name)),
    'deliver = ["bind"]',
    ...(otherBinds === "refuse" ? [] : [`other-binds = ${tomlString(otherBinds)}`]),
    "",
  ].join("\n");
}

/** A line for each bind without a place in the configuration: why it needs none, or can have none. */
export function explainOthers(binds: readonly SeenBind[], command: readonly string[] = []): readonly string[] {
  return judge(binds, command).others;
}

function userLines({ name, isGuess }: ServerUser, berth: string): string[] {
  const guess = `# It ran as root here. To try it as this user: berth explain --user ${name} ${printable(berth)} -- …`;
  return [...(isGuess ? [guess] : []), `user = ${tomlString(name)}`];
}

/** One section for each port: game, game-2 … */
function sections(binds: readonly SeenBind[]): string[] {
  const groups = new Map<string, SeenBind[]>();
  for (const bind of binds) {
    const { address } = bind.listen;
    const key = `${address.family === "unix" ? "" : address.port} ${isMapped(bind.listen)} ${together(bind) > 1}`;
    groups.set(key, [...(groups.get(key) ?? []), bind]);
  }
  return [...groups.values()].flatMap((group, index) => [
    "",
    `[sockets.${index === 0 ? "game" : `game-${index + 1}`}]`,
    ...group.flatMap(notes),
    `listen = [${group.flatMap((bind) => Array(together(bind)).fill(tomlString(formatListenAddress(bind.listen)))).join(", ")}]`,
    ...(group.some((bind) => together(bind) > 1) ? ["reuse-port = true"] : []),
    ...(group.some(({ listen }) => isMapped(listen)) ? ["v6only = false"] : []),
  ]);
}

/** How many sockets of its address the berth is to have. */
function together({ together: sockets = 1 }: SeenBind): number {
  return Math.max(1, Math.min(sockets, MAX_TOGETHER));
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
    ...(bind.lost.length === 0 ? [] : [`#   set before bind, and lost in a berth: ${bind.lost.join(" ")}`]),
    ...(together(bind) > 1
      ? [`#   it has ${together(bind)} sockets of this address at once, and so has the berth`]
      : []),
    ...Object.entries(bind.fixedAtBind).flatMap(([key, value]) => {
      if (key === "reuse-port" && together(bind) > 1) return [];
      const text = typeof value === "string" ? tomlString(value) : String(value);
      return `#   it set this too, which is fixed at bind(2); add it if you want it: ${key} = ${text}`;
    }),
  ];
}
