/** The zsh completion script, on zsh's own `_arguments`. Pure. */
import { type CommandShape, type Completion, type OptionShape, quote } from "./shape.ts";

/** The script for a program: a file `_NAME` in $fpath, or to be sourced after compinit. */
export function zshScript(program: CommandShape): string {
  const { name, commands, options } = program;
  return `#compdef ${name}
# zsh completion for ${name}: ${name} completion zsh > DIR/_${name}, with DIR in fpath before compinit
_${name}_berths() {
  local -a found where
  (( \${#opt_args[--socket]} )) && where=(--socket \${(Q)opt_args[--socket]})
  (( \${#${name}_socket} )) && where=(--socket $${name}_socket)
  found=(\${(f)"$(command ${name} $where ls --names 2>/dev/null)"})
  compadd -a found
}

_${name}() {
  local context state line ${name}_socket
  local -A opt_args
  _arguments -C ${[...options.map((option) => optionSpec(option, name)), "'1:command:->command'", "'*::argument:->argument'"].join(" ")}
  case $state in
    command)
      local -a commands=(
${commands.map((command) => `        ${quote(`${command.name}:${command.description.replaceAll(":", "\\:")}`)}`).join("\n")}
      )
      _describe command commands
      ;;
    argument)
      ${name}_socket=\${(Q)opt_args[--socket]}
      case $words[1] in
${commands.map((command) => `        ${command.name}) _arguments ${specs(command, name).join(" ")} ;;`).join("\n")}
      esac
      ;;
  esac
}

if [[ $funcstack[1] == _${name} ]]; then
  _${name} "$@"
else
  compdef _${name} ${name}
fi
`;
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

function optionSpec({ long, description, value }: OptionShape, program: string): string {
  const text = description.replace(/[[\]:\\]/g, "\\$&");
  return quote(`${long}[${text}]${value === undefined ? "" : `:${value.kind}:${action(value, program)}`}`);
}

function action(completion: Completion, program: string): string {
  switch (completion.kind) {
    case "words":
      return `(${completion.words.join(" ")})`;
    case "berth":
      return `_${program}_berths`;
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
