/** The fish completion script. Pure. */
import { type CommandShape, type Completion, groupsOf, isListed, listings, withAllBelow } from "./shape.ts";

/** The script for a program: a file in fish's completions folder. */
export function fishScript(program: CommandShape): string {
  const { name } = program;
  const all = withAllBelow(program);
  const values = all.flatMap(({ options }) => options.filter(({ value }) => value).map(({ long }) => long));
  return `# fish completion for ${name}: ${name} completion fish > ~/.config/fish/completions/${name}.fish
function __${name}_at
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
            case '*'
                contains -- "$command" '' ${groupsOf(program)
                  .map(({ path }) => quote(path))
                  .join(" ")}
                and set command (string trim -- "$command $word")
        end
    end
    test "$command" = "$argv[1]"
end

function __${name}_listed
    set -l words (commandline -opc)
    set -l where
    for option in --socket --state
        set -l at (contains -i -- $option $words)
        and set where $option $words[(math $at + 1)]
    end
    command ${name} $argv --names $where 2>/dev/null
end
${Object.entries(listings)
  .map(
    ([kind, listing]) => `
function __${name}_${kind}s
    __${name}_listed ${listing.replace(/ --names$/, "")}
end
`,
  )
  .join("")}
complete -c ${name} -f
${all.flatMap((command) => commandLines(command, name)).join("\n")}
`;
}

function commandLines(command: CommandShape, program: string): string[] {
  const here = `__${program}_at ${quote(command.path)}`;
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
  return options.map(({ long, description, value }) => {
    const taken =
      value === undefined ? "" : ` ${value.kind === "file" ? "-r" : "-x"} ${candidates(value, program)}`.trimEnd();
    return `complete -c ${program} -n ${quote(condition)} -l ${long.slice(2)} -d ${quote(description)}${taken}`;
  });
}

function candidates(completion: Completion, program: string): string {
  if (isListed(completion)) return `-a ${quote(`(__${program}_${completion.kind}s)`)}`;
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
