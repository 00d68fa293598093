/** The bash completion script. What a broker says is compared, never expanded: `compgen -W` would run it. Pure. */
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

/** The script for a program, without bash-completion's help. */
export function bashScript(program: CommandShape): string {
  const name = identifierOf(program);
  const all = withAllBelow(program);
  const groups = groupsOf(program);
  const takesValue = new Set(all.flatMap(valueFlags));
  return `# bash completion for ${program.name}: source <(berth completion bash ${program.name})
${listingsOf(program)
  .map(([kind, listing]) => listingFunction(name, kind, listing))
  .join("")}
_${name}() {
  # bash breaks words at the @ of a berth's name, so they are read from the line itself.
  local line=\${COMP_LINE:0:COMP_POINT} cur= previous= command= socket= state= word
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
      --state) state=$word previous= ;;
      ${[...takesValue].join("|")}) previous= ;;
      *)
        previous=$word
        if [[ $word != -* ]]; then
          case $command in
${wordCases(program)}            *) place+=1 ;;
          esac
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
${all.map((command) => `          ${quoted(command.path)}) ${fill({ kind: "words", words: command.options.map(({ long }) => long) }, name)} ;;`).join("\n")}
        esac
      else
        case "$command $place" in
${[program, ...groups]
  .filter(({ commands }) => commands.length > 0)
  .map(
    ({ path, commands }) =>
      `          '${path} 0') ${fill({ kind: "words", words: commands.map((command) => command.name) }, name)} ;;`,
  )
  .join("\n")}
${all.flatMap((command) => argumentCases(command, name)).join("\n")}
        esac
      fi
      ;;
  esac
  if [[ $cur == *@* && $COMP_WORDBREAKS == *@* ]]; then
    COMPREPLY=("\${COMPREPLY[@]#"\${cur%"\${cur##*@}"}"}")
  fi
}
complete -F _${name} ${program.name}
`;
}

/** Which words are commands, and no arguments. */
function wordCases(program: CommandShape): string {
  const groups = groupsOf(program).map(({ path }) => quoted(path));
  return [
    ...(program.commands.length > 0 ? ["            '') command=$word ;;\n"] : []),
    ...(groups.length > 0 ? [`            ${groups.join(" | ")}) command+=" $word" ;;\n`] : []),
  ].join("");
}

/** Lists from where the options in front say. */
function listingFunction(program: string, kind: string, listing: string): string {
  const where = kind === "berth" ? "socket" : "state";
  return `_${program}_${kind}s() {
  local found
  while IFS= read -r found; do
    [[ $found == "$cur"* && $found != *[!A-Za-z0-9_.@-]* ]] && COMPREPLY+=("$found")
  done < <(command berth ${listing} \${${where}:+--${where} "$${where}"} 2>/dev/null)
}
`;
}

/** What comes after an option that takes a value. */
function valueCases(commands: readonly CommandShape[], program: string): string {
  return commands
    .flatMap((command) =>
      command.options.flatMap(({ short, long, value }) => {
        if (value === undefined) return [];
        const flags = (short ? [long, short] : [long]).map((flag) => quoted(`${command.path} ${flag}`));
        return [`    ${flags.join(" | ")}) ${fill(value, program)} ;;`];
      }),
    )
    .join("\n");
}

function argumentCases(command: CommandShape, program: string): string[] {
  return command.arguments.map((completion, place) => {
    const isLast = place === command.arguments.length - 1;
    const pattern = isLast && command.isVariadic ? `'${command.path} '*` : `'${command.path} ${place}'`;
    return `          ${pattern}) ${fill(completion, program)} ;;`;
  });
}

/** A pattern of a case: our own words, with a blank between. */
function quoted(path: string): string {
  return `'${path}'`;
}

/** Shell code that fills COMPREPLY. The words are those of our own command tree. */
function fill(completion: Completion, program: string): string {
  if (isListed(completion)) return `_${program}_${completion.kind}s`;
  switch (completion.kind) {
    case "words":
      return `mapfile -t COMPREPLY < <(compgen -W '${completion.words.join(" ")}' -- "$cur")`;
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
