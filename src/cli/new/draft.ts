/** The text of a new berth's file: from a recipe, or from a few words. Pure. */
import { BerthError } from "../../errors.ts";
import { parseListenAddress } from "../../net/address.ts";
import { printable } from "../../printable.ts";
import { tomlString } from "../print/toml-string.ts";

/** What the operator says of a server, whatever the text is made from. */
export interface Place {
  readonly user?: string | undefined;
  readonly directory?: string | undefined;
}

/** `--port`: the port of one socket, or of the first one. */
export interface PortChoice {
  readonly socket: string | undefined;
  readonly port: number;
}

const MAX_PORT = 65_535;

/** A berth without a recipe: one socket, and a command if there is one. */
export function plainDraft(
  name: string,
  listen: readonly string[],
  command: readonly string[],
  { user, directory }: Place,
): string {
  const array = (words: readonly string[]): string => `[${words.map(tomlString).join(", ")}]`;
  return [
    `# ${printable(name)}.toml: made by berth new.`,
    "",
    "[sockets.game]",
    `listen = ${array(listen)}`,
    "",
    "[server]",
    ...(command.length === 0 ? [] : [`command = ${array(command)}`]),
    ...(user === undefined ? [] : [`user = ${tomlString(user)}`]),
    ...(directory === undefined ? [] : [`directory = ${tomlString(directory)}`]),
    'deliver = ["bind"]',
    "",
  ].join("\n");
}

/** A recipe with the operator's ports, user and folder. Its comments stay, with the new ports in them. */
export function recipeDraft(
  name: string,
  recipe: string,
  text: string,
  ports: readonly PortChoice[],
  { user, directory }: Place,
): string {
  const moved = movePorts(text, newPorts(portsOf(text), ports));
  const placed = directory === undefined ? moved : inFolder(moved, directory);
  const added = [
    ...(user === undefined ? [] : [`user = ${tomlString(user)}`]),
    ...(directory === undefined || folderOf(moved) !== undefined ? [] : [`directory = ${tomlString(directory)}`]),
  ];
  return `# ${printable(name)}.toml: made by berth new from the recipe ${recipe}.\n#\n${placed
    .replace(/^# Tests: .*\n/m, "")
    .replace(/^deliver = /m, (deliver) => [...added, deliver].join("\n"))}`;
}

/** The folder that a berth's text names. */
export function folderOf(text: string): string | undefined {
  return /^directory = "(.*)"$/m.exec(text)?.[1];
}

/** The ports of each socket, in the order of the text. */
function portsOf(text: string): ReadonlyMap<string, readonly number[]> {
  const sockets = text.matchAll(/^\[sockets\.([\w-]+)\]\nlisten = \[(.*)\]$/gm);
  return new Map(
    Array.from(sockets, ([, socket = "", listen = ""]) => [
      socket,
      Array.from(listen.matchAll(/:(\d+)"/g), ([, port]) => Number(port)),
    ]),
  );
}

/** Old ports and new ones. Without a socket's name all move as far as the first: a query port stays next to it. */
function newPorts(
  present: ReadonlyMap<string, readonly number[]>,
  choices: readonly PortChoice[],
): ReadonlyMap<number, number> {
  const [first] = [...present.values()].flat();
  const moved = new Map<number, number>();
  const all = choices.find(({ socket }) => socket === undefined);
  if (all !== undefined && first !== undefined)
    for (const port of [...present.values()].flat()) moved.set(port, port + all.port - first);
  for (const { socket, port } of choices) {
    if (socket === undefined) continue;
    const old = present.get(socket);
    if (old === undefined) {
      const names = [...present.keys()].join(", ");
      throw new BerthError("USAGE", `the recipe has no socket ${printable(socket)}; it has ${names}`);
    }
    for (const one of old) moved.set(one, port);
  }
  const high = [...moved.values()].find((port) => port < 1 || port > MAX_PORT);
  if (high === undefined) return moved;
  throw new BerthError("USAGE", `port ${high} is not between 1 and ${MAX_PORT}; the recipe's ports move together`);
}

function movePorts(text: string, ports: ReadonlyMap<number, number>): string {
  return text.replace(/(?<![\w.-])\d{4,5}(?![\w-]|\.\d)/g, (number) => String(ports.get(Number(number)) ?? number));
}

/** With another folder for that of the recipe, in every string and comment that names it. */
function inFolder(text: string, directory: string): string {
  const old = folderOf(text);
  return old === undefined ? text : text.replaceAll(old, directory);
}

/** Throws USAGE for a folder that could not be written into every string of a recipe as it is. */
export function mustBeFolder(directory: string): void {
  if (/^\/[^"\\%{}\p{C}\p{Zl}\p{Zp}]*$/u.test(directory)) return;
  const rule = 'must be an absolute path without " \\ % { }';
  throw new BerthError("USAGE", `--directory ${printable(directory)} ${rule}; write for example /srv/arena`);
}

/** Reads `27960` or `query=27961`. */
export function portChoice(text: string): PortChoice {
  const [, socket, digits = ""] = /^(?:([\w-]+)=)?(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits !== "" && port >= 1 && port <= MAX_PORT) return { socket, port };
  const rule = `is not a port from 1 to ${MAX_PORT}; write for example --port 27961, or --port query=27962`;
  throw new BerthError("USAGE", `--port ${printable(text)} ${rule}`);
}

/** Whether this is an address that a socket can have. */
export function isAddress(text: string): boolean {
  return typeof parseListenAddress(text) !== "string";
}
