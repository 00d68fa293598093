/** The bash completion script. What a broker says is compared, never expanded: `compgen -W` would run it. Pure. */
import type { CommandShape, Completion } from "./shape.ts";

/** The script for a program, without bash-completion's help. */
export function bashScript(program: CommandShape): string {
  const { name, commands } = program;
  const all = [program, ...commands];
  const takesValue = new Set(
    all.flatMap(({ options }) => options.filter(({ value }) => value).map(({ long }) => long)),
  );
  return `# bash completion for ${name}: source <(${name} completion bash)
_${name}_berths() {
  local found
  while IFS= read -r found; do
    [[ $found == "$cur"* && $found != *[!A-Za-z0-9_.@-]* ]] && COMPREPLY+=("$found")
  done < <(command ${name} \${socket:+--socket "$socket"} ls --names 2>/dev/null)
}

_${name}() {
  # bash breaks words at the @ of a berth's name, so they are read from the line itself.
  local line=\${COMP_LINE:0:COMP_POINT} cur= previous= command= socket= word
  local -i place=0
  local -a words
  read -ra words <<<"$line"
  if [[ $line != *[[:space:]] ]]; then
    cur=\${words[-1]}
    unset 'words[-1]'
  fi
  for word in "\${words[@]:1}"; do
    case $previous in
      --socket) socket=$word previous= ;;
      ${[...takesValue].join("|")}) previous= ;;
      *)
        previous=$word
        if [[ $word != -* ]]; then
          if [[ -z $command ]]; then command=$word; else place+=1; fi
        fi
        ;;
    esac
  done
  COMPREPLY=()
  case "$command $previous" in
${valueCases(all, name)}
    *)
      if [[ $cur == -* ]]; then
        case $command in
${all.map((command) => `          ${label(command, name)}) ${fill({ kind: "words", words: command.options.map(({ long }) => long) }, name)} ;;`).join("\n")}
        esac
      else
        case "$command $place" in
          ' '*) ${fill({ kind: "words", words: commands.map((command) => command.name) }, name)} ;;
${commands.flatMap((command) => argumentCases(command, name)).join("\n")}
        esac
      fi
      ;;
  esac
  if [[ $cur == *@* && $COMP_WORDBREAKS == *@* ]]; then
    COMPREPLY=("\${COMPREPLY[@]#"\${cur%"\${cur##*@}"}"}")
  fi
}
complete -F _${name} ${name}
`;
}

/** What comes after an option that takes a value. */
function valueCases(commands: readonly CommandShape[], program: string): string {
  return commands
    .flatMap((command) =>
      command.options.flatMap(({ long, value }) =>
        value === undefined
          ? []
          : [`    '${command.name === program ? "" : command.name} ${long}') ${fill(value, program)} ;;`],
      ),
    )
    .join("\n");
}

function argumentCases(command: CommandShape, program: string): string[] {
  return command.arguments.map((completion, place) => {
    const isLast = place === command.arguments.length - 1;
    const pattern = isLast && command.isVariadic ? `'${command.name} '*` : `'${command.name} ${place}'`;
    return `          ${pattern}) ${fill(completion, program)} ;;`;
  });
}

function label(command: CommandShape, program: string): string {
  return command.name === program ? "''" : command.name;
}

/** Shell code that fills COMPREPLY. The words are those of our own command tree. */
function fill(completion: Completion, program: string): string {
  switch (completion.kind) {
    case "words":
      return `mapfile -t COMPREPLY < <(compgen -W '${completion.words.join(" ")}' -- "$cur")`;
    case "berth":
      return `_${program}_berths`;
    case "file":
      return 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur")';
    case "directory":
      return 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur")';
    case "text":
      return ":";
    default:
      return completion satisfies never;
  }
}
