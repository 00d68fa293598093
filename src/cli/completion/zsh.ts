/** The zsh completion script, on zsh's own `_arguments`. Pure. */
import {
  type CommandShape,
  type Completion,
  groupsOf,
  identifierOf,
  isListed,
  listingsOf,
  type OptionShape,
  quote,
} from "./shape.ts";

/** The script for a program: a file `_NAME` in $fpath, or to be sourced after compinit. */
export function zshScript(program: CommandShape): string {
  const name = identifierOf(program);
  return `#compdef ${program.name}
# zsh completion for ${program.name}: berth completion zsh ${program.name} > DIR/_${program.name}, with DIR in fpath before compinit
_${name}_listed() {
  local -a found where
  (( \${#opt_args[--state]} )) && where=(--state \${(Q)opt_args[--state]})
  (( \${#opt_args[--socket]} )) && where=(--socket \${(Q)opt_args[--socket]})
  [[ $1 == ls ]] && (( \${#${name}_socket} )) && where=(--socket $${name}_socket)
  found=(\${(f)"$(command berth $@ --names $where 2>/dev/null)"})
  compadd -a found
}
${listingsOf(program)
  .map(([kind, listing]) => `_${name}_${kind}s() { _${name}_listed ${listing.replace(/ --names$/, "")} }\n`)
  .join("")}
${groupsOf(program)
  .map((group) => commandFunction(group, name))
  .join("\n")}
${program.commands.length > 0 ? commandFunction(program, name) : leafFunction(program, name)}
if [[ $funcstack[1] == _${program.name} ]]; then
  _${name} "$@"
else
  compdef _${name} ${program.name}
fi
`;
}

/** Completes a program without commands. */
function leafFunction(program: CommandShape, name: string): string {
  return `_${name}() {
  local context state line
  local -A opt_args
  _arguments ${specs(program, name).join(" ")}
}
`;
}

/** Completes what comes after a command that has others below it. */
function commandFunction({ path, commands, options }: CommandShape, program: string): string {
  const isTop = path === "";
  return `${functionOf(path, program)}() {
  local context state line${isTop ? ` ${program}_socket` : ""}
  local -A opt_args
  _arguments -C ${[...options.map((option) => optionSpec(option, program)), "'1:command:->command'", "'*::argument:->argument'"].join(" ")}
  case $state in
    command)
      local -a commands=(
${commands.map((command) => `        ${quote(`${command.name}:${command.description.replaceAll(":", "\\:")}`)}`).join("\n")}
      )
      _describe command commands
      ;;
    argument)
${isTop ? `      ${program}_socket=\${(Q)opt_args[--socket]}\n` : ""}      case $words[1] in
${commands.map((command) => `        ${command.name}) ${completer(command, program)} ;;`).join("\n")}
      esac
      ;;
  esac
}
`;
}

function completer(command: CommandShape, program: string): string {
  return command.commands.length > 0
    ? functionOf(command.path, program)
    : `_arguments ${specs(command, program).join(" ")}`;
}

function functionOf(path: string, program: string): string {
  return ["", program, ...path.split(" ").filter((word) => word !== "")].join("_");
}

function specs({ options, arguments: places, isVariadic }: CommandShape, program: string): string[] {
  return [
    ...options.map((option) => optionSpec(option, program)),
    ...places.map((completion, place) => {
      const position = isVariadic && place === places.length - 1 ? "*" : String(place + 1);
      return quote(`${position}:${completion.kind}:${action(completion, program)}`);
    }),
  ];
}

function optionSpec({ short, long, description, value }: OptionShape, program: string): string {
  const text = description.replace(/[[\]:\\]/g, "\\$&");
  const rest = `[${text}]${value === undefined ? "" : `:${value.kind}:${action(value, program)}`}`;
  return [...(short ? [short] : []), long].map((flag) => quote(flag + rest)).join(" ");
}

function action(completion: Completion, program: string): string {
  if (isListed(completion)) return `_${program}_${completion.kind}s`;
  switch (completion.kind) {
    case "words":
      return `(${completion.words.join(" ")})`;
    case "file":
      return "_files";
    case "directory":
      return "_files -/";
    case "text":
      return " ";
    default:
      return completion satisfies never;
  }
}
