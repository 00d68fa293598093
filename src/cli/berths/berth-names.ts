/** The berths that a command line names: by their names, or by patterns as a shell has them, `arena@*`. */
import { parseBerthName } from "../../config/toml/name.ts";
import { BerthError } from "../../errors.ts";
import { printableJson } from "../../printable.ts";
import type { BrokerChoice } from "../options.ts";
import { listBerths } from "./berth-records.ts";

/**
 * The names, each once. `*` stands for any text and `?` for one character: no name has them. The broker is asked only
 * if there is such a pattern. Throws CONFIG_INVALID if no berth matches it.
 */
export async function berthNames(words: readonly string[], choice: BrokerChoice): Promise<readonly string[]> {
  if (!words.some(isPattern)) return [...new Set(words)];
  const known = (await listBerths(choice)).map(({ name }) => name);
  return [...new Set(words.flatMap((word) => (isPattern(word) ? matching(word, known) : [word])))];
}

/** Throws USAGE for a word that cannot name a berth: it may become part of a path. */
export function mustBeBerth(name: string, allowed?: "or template"): void {
  const kind = parseBerthName(name)?.kind;
  if (kind === undefined || (kind === "template" && allowed === undefined))
    throw new BerthError("USAGE", `${printableJson(name)} is not the name of a berth; \`berth ls\` lists them`);
}

function isPattern(word: string): boolean {
  return /[*?]/.test(word);
}

function matching(pattern: string, names: readonly string[]): readonly string[] {
  const parts = pattern
    .split(/([*?])/)
    .map((part) => (part === "*" ? ".*" : part === "?" ? "." : part.replace(/[^\w@-]/g, "\\$&")));
  const found = names.filter((name) => new RegExp(`^${parts.join("")}$`).test(name));
  if (found.length > 0) return found;
  throw new BerthError("CONFIG_INVALID", `no berth matches ${printableJson(pattern)}; \`berth ls\` lists them`);
}
