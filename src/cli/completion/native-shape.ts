/** The shape of a native program, read from its own help: each line of an option there is an option here. Pure. */
import type { ProgramName } from "../../launcher-path.ts";
import type { CommandShape, Completion, OptionShape } from "./shape.ts";

/** What can stand in the places of each program; the last stands for all further ones of `berth-launch`. */
const places: Readonly<Record<NativeProgram, readonly Completion["kind"][]>> = {
  "berth-launch": ["berth", "file"],
  "shift-own": ["file"],
  "shift-mount": ["directory", "directory", "directory"],
};

/** Those that people call. */
export type NativeProgram = Exclude<ProgramName, "berth-doorman" | "berth-guard">;

const kinds: Readonly<Record<string, Completion["kind"]>> = { PATH: "file", FILE: "file", DIR: "directory" };

const optionLine = /^ {2}(?:(-\w), | {4})?(--[a-z-]+)(?: ([^\s,]+))?(?:, --version)?(?: +(\S.*))?$/gm;

/** The shape that `PROGRAM --help` tells of. */
export function shapeOfHelp(name: NativeProgram, help: string): CommandShape {
  const options = Array.from(
    help.matchAll(optionLine),
    ([line, short, long = "", value, description]): OptionShape[] => [
      {
        short,
        long,
        description: description ?? "say what it does",
        value: value === undefined ? undefined : valueIn(value),
      },
      ...(line.includes(", --version")
        ? [{ short: undefined, long: "--version", description: "say which it is", value: undefined }]
        : []),
    ],
  ).flat();
  return {
    name,
    path: "",
    description: "",
    options,
    arguments: places[name].map(completionOf),
    isVariadic: name === "berth-launch",
    commands: [],
  };
}

function valueIn(word: string): Completion {
  const words = word.split("|");
  return words.length > 1 ? { kind: "words", words } : completionOf(kinds[word] ?? "text");
}

function completionOf(kind: Completion["kind"]): Completion {
  return kind === "words" ? { kind, words: [] } : { kind };
}
