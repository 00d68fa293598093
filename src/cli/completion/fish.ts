/** The fish completion script. Pure. */
import type { CommandShape, Completion } from "./shape.ts";

/** The script for a program: a file in fish's completions folder. */
export function fishScript(program: CommandShape): string {
  const { name, commands } = program;
  const atStart = "__fish_use_subcommand";
  return `# fish completion for ${name}: ${name} completion fish > ~/.config/fish/completions/${name}.fish
function __${name}_berths
    set -l words (commandline -opc)
    set -l at (contains -i -- --socket $words)
    and set -l socket --socket $words[(math $at + 1)]
    command ${name} $socket ls --names 2>/dev/null
end

complete -c ${name} -f
${optionLines(program, name, atStart).join("\n")}
${commands.map((command) => `complete -c ${name} -n ${atStart} -a ${command.name} -d ${quote(command.description)}`).join("\n")}
${commands.flatMap((command) => commandLines(command, name)).join("\n")}
`;
}

function commandLines(command: CommandShape, program: string): string[] {
  const inside = `__fish_seen_subcommand_from ${command.name}`;
  return [
    ...optionLines(command, program, inside),
    ...command.arguments
      .map((completion) => candidates(completion, program))
      .filter((found) => found !== "")
      .map((found) => `complete -c ${program} -n ${quote(inside)} ${found}`),
  ];
}

function optionLines({ options }: CommandShape, program: string, condition: string): string[] {
  return options.map(({ long, description, value }) => {
    const taken =
      value === undefined ? "" : ` ${value.kind === "file" ? "-r" : "-x"} ${candidates(value, program)}`.trimEnd();
    return `complete -c ${program} -n ${quote(condition)} -l ${long.slice(2)} -d ${quote(description)}${taken}`;
  });
}

function candidates(completion: Completion, program: string): string {
  switch (completion.kind) {
    case "words":
      return `-a ${quote(completion.words.join(" "))}`;
    case "berth":
      return `-a ${quote(`(__${program}_berths)`)}`;
    case "file":
      return "-F";
    case "directory":
      return `-a ${quote("(__fish_complete_directories)")}`;
    case "text":
      return "";
    default:
      return completion satisfies never;
  }
}

/** fish reads \\ and \' inside single quotes. */
function quote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
