/** Which programs servers of the fleet may run, where the operator of this host names them. */
import { isTable, type JsonObject } from "../../model/fields.ts";
import { type KeyRules, refusal } from "./keys.ts";

/** What the operator of this host allows. */
export interface CommandRules extends KeyRules {
  /** Folders or programs. Empty: every program. */
  readonly commands: readonly string[];
}

/** Variables by which a loader or an interpreter runs other code than that of the program. */
const CODE =
  /^(?:LD_.*|GCONV_PATH|GLIBC_TUNABLES|BASH_ENV|ENV|SHELLOPTS|BASHOPTS|PS4|.*_OPTIONS|PERL5(?:OPT|LIB|DB)|PYTHON.*|RUBY(?:OPT|LIB)|NODE_PATH|LUA_.*|CLASSPATH)$/;

export function commandProblem(server: JsonObject, { commands, keys }: CommandRules): string | undefined {
  if (commands.length === 0) return undefined;
  const { command, enter, environment } = server;
  const [program] = Array.isArray(command) ? command : [];
  const isAllowed = (prefix: string): boolean =>
    program === prefix || String(program).startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
  // A part of the path that is `..` leaves the folder; a specifier or placeholder becomes another text later.
  const isPlain = typeof program === "string" && /^\//.test(program) && !/(?:^|\/)\.\.?(?:\/|$)|[%{]/.test(program);
  if (!isPlain || !commands.some(isAllowed)) {
    const name = JSON.stringify(program ?? null);
    return `this host does not run ${name} for the fleet; --allow-command of its agent allows it`;
  }
  // In another root the path is that of another program.
  if (enter !== undefined && enter !== false && !keys.includes("server.enter")) return refusal("server.enter");
  const variable = (isTable(environment) ? Object.keys(environment) : []).find(
    (name) => CODE.test(name) && !keys.includes(`server.environment.${name}`),
  );
  return variable === undefined ? undefined : refusal(`server.environment.${variable}`);
}
