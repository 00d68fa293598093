/** What completion needs to know of the command tree, independent of any shell. Pure. */
import type { Argument, Command, Option } from "commander";

/** What can stand in a place. */
export type Completion =
  | { readonly kind: Listed }
  | { readonly kind: "directory" | "file" | "text" }
  | { readonly kind: "words"; readonly words: readonly string[] };

/** What the program itself lists when it is asked. */
type Listed = "berth" | "image" | "owner";

/** The commands of berth that list it, one name a line: soon or not at all, as somebody waits at the keyboard. */
const listings: Readonly<Record<Listed, string>> = {
  berth: "ls --timeout 2 --names",
  image: "image ls --timeout 2 --names",
  owner: "range ls --timeout 2 --names",
};

/** What a program needs of these. */
export function listingsOf(program: CommandShape): readonly (readonly [Listed, string])[] {
  const used = withAllBelow(program).flatMap((command) => [
    ...command.options.flatMap(({ value }) => value?.kind ?? []),
    ...command.arguments.map(({ kind }) => kind),
  ]);
  return listed.filter((kind) => used.includes(kind)).map((kind) => [kind, listings[kind]]);
}

const listed: readonly Listed[] = ["berth", "image", "owner"];

/** The program's name, as a part of the name of a variable or function. */
export function identifierOf({ name }: CommandShape): string {
  return name.replaceAll("-", "_");
}

export interface OptionShape {
  /** With its dash, as `-n`. */
  readonly short: string | undefined;
  /** With its dashes: `--socket`. */
  readonly long: string;
  readonly description: string;
  /** Of the option's value; undefined where it takes none. */
  readonly value: Completion | undefined;
}

export interface CommandShape {
  readonly name: string;
  /** How it is written after the program: `image import`; empty for the program itself. */
  readonly path: string;
  readonly description: string;
  readonly options: readonly OptionShape[];
  /** Of each argument; the last stands for all further ones where `isVariadic`. */
  readonly arguments: readonly Completion[];
  readonly isVariadic: boolean;
  readonly commands: readonly CommandShape[];
}

/** By the name of its value: what a place is called in the help says what can stand in it. */
function completionOf(name: string, choices: readonly string[] | undefined): Completion {
  if (choices !== undefined) return { kind: "words", words: choices };
  if (name === "berth" || name === "image" || name === "owner" || name === "directory") return { kind: name };
  if (name === "dir") return { kind: "directory" };
  return { kind: name === "path" || name === "command" ? "file" : "text" };
}

function optionShape({ short, long, description, flags, required, argChoices }: Option): OptionShape {
  const value = required ? completionOf(/<([^>]*)>/.exec(flags)?.[1] ?? "", argChoices) : undefined;
  return { short, long: long ?? "", description, value };
}

/** The shape of a command and all below it. */
export function shapeOf(command: Command, path: readonly string[] = []): CommandShape {
  const places: readonly Argument[] = command.registeredArguments;
  const help: OptionShape = { short: undefined, long: "--help", description: "say what it does", value: undefined };
  return {
    name: command.name(),
    path: path.join(" "),
    description: command.description(),
    options: [...command.options.map(optionShape), help],
    arguments: places.map((place) => completionOf(place.name(), place.argChoices)),
    isVariadic: places.at(-1)?.variadic ?? false,
    commands: command.commands.map((child) => shapeOf(child, [...path, child.name()])),
  };
}

/** The options of a command that take a value, as they are written. */
export function valueFlags({ options }: CommandShape): string[] {
  return options.flatMap(({ short, long, value }) => (value === undefined ? [] : short ? [long, short] : [long]));
}

/** A command and all below it, each before its own. */
export function withAllBelow(command: CommandShape): CommandShape[] {
  return [command, ...command.commands.flatMap(withAllBelow)];
}

/** The commands that only lead to others. */
export function groupsOf(program: CommandShape): CommandShape[] {
  return withAllBelow(program).filter(({ path, commands }) => path !== "" && commands.length > 0);
}

export function isListed(completion: Completion): completion is { readonly kind: Listed } {
  return completion.kind in listings;
}

/** In single quotes, as sh, zsh and bash read them. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
