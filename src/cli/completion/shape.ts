/** What completion needs to know of the command tree, independent of any shell. Pure. */
import type { Argument, Command, Option } from "commander";

/** What can stand in a place. */
export type Completion =
  | { readonly kind: "berth" | "directory" | "file" | "text" }
  | { readonly kind: "words"; readonly words: readonly string[] };

export interface OptionShape {
  /** With its dashes: `--socket`. */
  readonly long: string;
  readonly description: string;
  /** Of the option's value; undefined where it takes none. */
  readonly value: Completion | undefined;
}

export interface CommandShape {
  readonly name: string;
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
  if (name === "berth" || name === "directory") return { kind: name };
  return { kind: name === "path" || name === "command" ? "file" : "text" };
}

function optionShape({ long, description, flags, required, argChoices }: Option): OptionShape {
  const value = required ? completionOf(/<([^>]*)>/.exec(flags)?.[1] ?? "", argChoices) : undefined;
  return { long: long ?? "", description, value };
}

/** The shape of a command and all below it. */
export function shapeOf(command: Command): CommandShape {
  const places: readonly Argument[] = command.registeredArguments;
  const help: OptionShape = { long: "--help", description: "say what it does", value: undefined };
  return {
    name: command.name(),
    description: command.description(),
    options: [...command.options.map(optionShape), help],
    arguments: places.map((place) => completionOf(place.name(), place.argChoices)),
    isVariadic: places.at(-1)?.variadic ?? false,
    commands: command.commands.map(shapeOf),
  };
}

/** In single quotes, as sh, zsh and bash read them. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
