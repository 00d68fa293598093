/** The fish completion script. Pure. */
import {
  type CommandShape,
  type Completion,
  groupsOf,
  identifierOf,
  isListed,
  listingsOf,
  valueFlags,
  withAllBelow,
} from "./shape.ts";

/** The script for a program: a file in fish's completions folder. */
export function fishScript(program: CommandShape): string {
  const { name } = program;
  const own = identifierOf(program);
  const all = withAllBelow(program);
  const values = all.flatMap(valueFlags);
  return `# fish completion for ${name}: berth completion fish ${name} > ~/.config/fish/completions/${name}.fish
function __${own}_at
    # The command that has been written, as \`image import\`.
    set -l command
    set -l skip
    for word in (commandline -opc)[2..-1]
        if test -n "$skip"
            set skip
            continue
        end
        switch $word
            case ${[...new Set(values)].join(" ")}
                set skip yes
            case '-*'
${commandCase(program)}        end
    end
    test "$command" = "$argv[1]"
end

function __${own}_listed
    set -l words (commandline -opc)
    set -l where
    for option in --socket --state
        set -l at (contains -i -- $option $words)
        and set where $option $words[(math $at + 1)]
    end
    command berth $argv --names $where 2>/dev/null
end
${listingsOf(program)
  .map(
    ([kind, listing]) => `
function __${own}_${kind}s
    __${own}_listed ${listing.replace(/ --names$/, "")}
end
`,
  )
  .join("")}
complete -c ${name} -f
${all.flatMap((command) => commandLines(command, name)).join("\n")}
`;
}

/** Which words are commands, and no arguments. */
function commandCase(program: CommandShape): string {
  if (program.commands.length === 0) return "";
  const groups = groupsOf(program).map(({ path }) => quote(path));
  return `            case '*'
                contains -- "$command" '' ${groups.join(" ")}
                and set command (string trim -- "$command $word")
`;
}

function commandLines(command: CommandShape, program: string): string[] {
  const here = `__${program.replaceAll("-", "_")}_at ${quote(command.path)}`;
  return [
    ...optionLines(command, program, here),
    ...command.commands.map(
      ({ name, description }) => `complete -c ${program} -n ${quote(here)} -a ${name} -d ${quote(description)}`,
    ),
    ...command.arguments
      .map((completion) => candidates(completion, program))
      .filter((found) => found !== "")
      .map((found) => `complete -c ${program} -n ${quote(here)} ${found}`),
  ];
}

function optionLines({ options }: CommandShape, program: string, condition: string): string[] {
  return options.map(({ short, long, description, value }) => {
    const taken =
      value === undefined ? "" : ` ${value.kind === "file" ? "-r" : "-x"} ${candidates(value, program)}`.trimEnd();
    return `complete -c ${program} -n ${quote(condition)} -l ${long.slice(2)}${short ? ` -s ${short.slice(1)}` : ""} -d ${quote(description)}${taken}`;
  });
}

function candidates(completion: Completion, program: string): string {
  if (isListed(completion)) return `-a ${quote(`(__${program.replaceAll("-", "_")}_${completion.kind}s)`)}`;
  switch (completion.kind) {
    case "words":
      return `-a ${quote(completion.words.join(" "))}`;
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
