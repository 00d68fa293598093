/** The keys of a section: as docs/configuration.md has them in a table, and as berthd.toml(5) has them in a list. */
import { read, section, tableRows } from "./markdown.ts";

/** A row of the table. What the key is about is Markdown. */
type KeyRow = readonly [key: string, type: string, fallback: string, unit: string, sockets: string, about: string];

/** The rows of a section's table in docs/configuration.md. A table without units or sockets has "" and "all". */
export function documentedKeys(name: string): KeyRow[] {
  return keyRows(section(read("docs/configuration.md"), `## \`[${name}]\``));
}

/** The rows of the first table in a text. */
export function keyRows(text: string): KeyRow[] {
  return tableRows(text).map((cells) => {
    const [key = "", type = "", fallback = "", ...more] = cells;
    const [unit = "", sockets = "all"] = more.slice(0, -1);
    return [key, type, fallback, unit, sockets, more.at(-1) ?? ""];
  });
}

/**
 * The manual's text with the list under `.Ss [NAME]` replaced by that of the rows. Throws when there is no such list.
 */
export function withKeyList(manual: string, name: string, rows: readonly KeyRow[]): string {
  const heading = manual.indexOf(`.Ss [${name}]\n`);
  const begin = manual.indexOf(".It ", manual.indexOf(".Bl -tag ", heading));
  const end = manual.indexOf(".El\n", begin);
  if (heading < 0 || begin < heading || end < begin) throw new Error(`the manual has no list of keys under [${name}]`);
  return `${manual.slice(0, begin)}${rows.map(entry).join("")}${manual.slice(end)}`;
}

function entry([key, type, fallback, unit, sockets, about]: KeyRow): string {
  const facts = [
    sentence(about),
    sentence(type),
    ...(unit === "" ? [] : [`Unit: ${unit}.`]),
    ...(sockets === "all" ? [] : [`For ${sockets}.`]),
    ...(fallback === "" ? [] : [`Default: ${fallback}.`]),
  ];
  return `.It Ic ${key}\n${facts.map((fact) => `${mdoc(fact)}\n`).join("")}`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

/** Markdown as mdoc(7) text: each sentence on a line of its own, no links, no backticks, only ASCII. */
function mdoc(markdown: string): string {
  return markdown
    .replaceAll("\\", "\\e")
    .replace(/\[([^\]]+)\]\([^)]*\)/g, "$1")
    .replaceAll("`", "")
    .replaceAll("…", "...")
    .replaceAll('"', "\\(dq")
    .replace(/\. (?=[A-Z])/g, ".\n")
    .replace(/^(?=[.'])/gm, "\\&");
}
