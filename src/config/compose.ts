/**
 * Decides which berths there are and merges each one's files into one table. Pure. From the bottom up:
 *
 *   NAME               NAME.toml, NAME.toml.d/*.toml
 *   TEMPLATE@INSTANCE  TEMPLATE@.toml, TEMPLATE@.toml.d/*.toml, TEMPLATE@INSTANCE.toml, TEMPLATE@INSTANCE.toml.d/*.toml
 *
 * An instance exists where TEMPLATE@INSTANCE.toml does: as a link to the template, as an empty file, or with what
 * differs from the template. Without a template it must say everything itself. A link to /dev/null masks any berth; an
 * empty file masks a plain one or a template. Drop-ins are merged in the order of their file names. Each text is parsed
 * once, however many instances stand on it.
 */
import { type BerthName, parseBerthName } from "./name.ts";
import { compareText, type Report } from "./problem.ts";
import type { ConfigFile, ConfigFiles } from "./read-files.ts";
import type { Origin } from "./spec.ts";
import { mergeTables, parseTree, type Table } from "./tree.ts";

/** A berth before it is validated; `origin` is the file that makes it exist. */
export interface ComposedBerth {
  readonly name: BerthName;
  readonly origin: Origin;
  readonly table: Table;
}

/** What a base or a part of it comes to: a table; nothing, because there is no such file; or a reported failure. */
type Layer = Table | "absent" | "failed";

/** The berths of these files, by name. One whose files could not be read is left out; why has been reported. */
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
      // For its syntax errors, also where it has no instance.
      template(name.template);
    } else if (!isMasked(name, file)) {
      const table = composeLayers([name.kind === "instance" ? template(name.template) : "absent"], stem, files, report);
      const origin = { file: file.path, line: 1 };
      if (typeof table === "object") berths.push({ name, origin, table });
      if (table === "absent") reportNoTemplate(name, origin, report);
    }
  }
  reportOrphans(files, report);
  return berths;
}

/** Merges a berth's own file and drop-ins over what is below them. Nothing at the bottom: drop-ins alone make no berth. */
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

/** Nothing to merge: an empty text, or a link to /dev/null or to the template, which is merged anyway. */
function isEmpty({ content }: ConfigFile): boolean {
  return content.kind === "null" || content.kind === "template" || (content.kind === "text" && content.text === "");
}

function isMasked(name: BerthName, file: ConfigFile): boolean {
  return name.kind === "instance" ? file.content.kind === "null" : isEmpty(file);
}

function reportNoTemplate(name: BerthName, origin: Origin, report: Report): void {
  if (name.kind !== "instance") return;
  const message = `${name.full} is an instance of a template that is missing or masked: ${name.template}@.toml`;
  report(origin, message, `write ${name.template}@.toml, or remove this file`);
}

/** Drop-ins of a berth that no file makes exist: most likely its name is mistyped. Those of a masked one are in order. */
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
