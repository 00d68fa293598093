/**
 * Decides which berths there are and merges each one's files into one table. Pure. From the bottom up:
 *
 *   NAME               NAME.toml, NAME.toml.d/*.toml
 *   TEMPLATE@INSTANCE  TEMPLATE@.toml, TEMPLATE@.toml.d/*.toml, TEMPLATE@INSTANCE.toml, TEMPLATE@INSTANCE.toml.d/*.toml
 *
 * An instance exists if the file TEMPLATE@INSTANCE.toml exists. The file is a link to the template, is empty, or has
 * what differs from the template. Without a template it has everything. A link to /dev/null masks any berth; an empty
 * file masks a plain berth or a template. Drop-ins are merged in the order of their file names. Each text is parsed
 * once, however many instances use it.
 */
import { type BerthName, parseBerthName } from "./name.ts";
import type { Origin } from "./problem.ts";
import { compareText, type Report } from "./problem.ts";
import type { ConfigFile, ConfigFiles } from "./read-files.ts";
import { mergeTables, parseTree, type Table } from "./tree.ts";

/** A berth before it is validated; `origin` is the file that makes it exist. */
export interface ComposedBerth {
  readonly name: BerthName;
  readonly origin: Origin;
  /** Undefined if its files could not be read: then that was reported. */
  readonly table: Table | undefined;
}

/** One file or a merge of several: a table; "absent": there is no such file; "failed": it was reported. */
type Layer = Table | "absent" | "failed";

/** The berths of these files, by name. A berth whose files could not be read is reported, and has no table. */
export function composeBerths(files: ConfigFiles, report: Report): ComposedBerth[] {
  const templates = new Map<string, Layer>();
  const template = (name: string): Layer => {
    const known = templates.get(name) ?? composeLayers(["absent"], `${name}@`, files, report);
    templates.set(name, known);
    return known;
  };
  const berths: ComposedBerth[] = [];
  for (const [stem, file] of [...files.berths].sort(([a], [b]) => compareText(a, b))) {
    const name = parseBerthName(stem);
    if (name === undefined) continue;
    if (name.kind === "template") {
      // Reports its syntax errors, even if it has no instance.
      template(name.template);
    } else if (!isMasked(name, file)) {
      const table = composeLayers([name.kind === "instance" ? template(name.template) : "absent"], stem, files, report);
      const origin = { file: file.path, line: 1 };
      if (table === "absent") reportNoTemplate(name, origin, report);
      berths.push({ name, origin, table: typeof table === "object" ? table : undefined });
    }
  }
  reportOrphans(files, report);
  return berths;
}

/** Merges a berth's own file and drop-ins over `below`. Drop-ins alone make no berth: then it is "absent". */
function composeLayers(below: readonly Layer[], stem: string, files: ConfigFiles, report: Report): Layer {
  const base = merge([...below, parseFile(files.berths.get(stem), report)]);
  if (base === "absent") return base;
  return merge([base, ...(files.dropIns.get(stem)?.files ?? []).map((file) => parseFile(file, report))]);
}

function merge(layers: readonly Layer[]): Layer {
  if (layers.includes("failed")) return "failed";
  const tables = layers.filter((layer) => typeof layer === "object");
  return tables.length === 0 ? "absent" : tables.reduce(mergeTables);
}

function parseFile(file: ConfigFile | undefined, report: Report): Layer {
  if (file === undefined || isEmpty(file)) return "absent";
  const { content, path } = file;
  return content.kind === "text" ? (parseTree(path, content.text, report) ?? "failed") : "failed";
}

/** Whether there is nothing to merge: an empty text, or a link to /dev/null or to the template (merged before). */
function isEmpty({ content }: ConfigFile): boolean {
  return content.kind === "null" || content.kind === "template" || (content.kind === "text" && content.text === "");
}

function isMasked(name: BerthName, file: ConfigFile): boolean {
  return name.kind === "instance" ? file.content.kind === "null" : isEmpty(file);
}

function reportNoTemplate(name: BerthName, origin: Origin, report: Report): void {
  if (name.kind !== "instance") return;
  const message = `${name.full} is an instance of a template that is missing or masked: ${name.template}@.toml`;
  report(origin, message, `create ${name.template}@.toml, or remove this file`);
}

/**
 * Reports drop-ins of a berth that does not exist: its name is likely mistyped. Drop-ins of a masked berth are fine.
 */
function reportOrphans(files: ConfigFiles, report: Report): void {
  for (const [stem, { directory }] of files.dropIns) {
    if (files.berths.has(stem)) continue;
    report(
      { file: directory, line: 1 },
      `these drop-ins belong to ${stem}.toml, which does not exist`,
      `create ${stem}.toml, or remove this directory`,
    );
  }
}
