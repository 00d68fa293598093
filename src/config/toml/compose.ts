/**
 * Decides which berths there are and merges each one's files into one table. Pure. From the bottom up:
 *
 *   NAME               NAME.toml, NAME.toml.d/*.toml
 *   TEMPLATE@INSTANCE  TEMPLATE@.toml, TEMPLATE@.toml.d/*.toml, TEMPLATE@INSTANCE.toml, TEMPLATE@INSTANCE.toml.d/*.toml
 *
 * An instance exists if the file TEMPLATE@INSTANCE.toml exists. The file is a link to the template, is empty, or has
 * what differs from the template. Without a template it has everything. A link to /dev/null masks any berth; an empty
 * file masks a plain berth or a template. Drop-ins are merged in the order of their file names. Each text is parsed
 * once, however many instances use it, and that of a template only if it has changed.
 */
import type { ConfigFile } from "./file-cache.ts";
import { type BerthName, parseBerthName } from "./name.ts";
import type { Origin } from "./problem.ts";
import { compareText, type Report } from "./problem.ts";
import type { ConfigFiles } from "./read-files.ts";
import { mergeTables, parseTree, type Table } from "./tree.ts";

/** A berth before its files are merged; `origin` is the file that makes it exist. */
export interface ComposedBerth {
  readonly name: BerthName;
  readonly origin: Origin;
  /** What its table is made of, in order: where all are the same objects as before, the table is the same. */
  readonly parts: readonly (ConfigFile | Layer)[];
  /** Merges its files. Undefined if they could not be read: then that is reported. */
  readonly table: () => Table | undefined;
}

/** One file or a merge of several: a table; "absent": there is no such file; "failed": it was reported. */
export type Layer = Table | "absent" | "failed";

/** The layers of templates, kept from one reading to the next. */
export class TemplateCache {
  #known: ReadonlyMap<string, TemplateLayer> = new Map();

  /** Begins another reading. `layer` composes the files of a template unless they are as before. */
  begin(files: ConfigFiles, report: Report): { readonly layer: (name: string) => Layer; readonly done: () => void } {
    const before = this.#known;
    const known = new Map<string, TemplateLayer>();
    const layer = (template: string): Layer => {
      const now = known.get(template);
      if (now !== undefined) return now.layer;
      const stem = `${template}@`;
      const parts = filesOf(files, stem);
      const earlier = before.get(template);
      // What failed is composed again, to be reported again.
      const isSame = earlier !== undefined && earlier.layer !== "failed" && isSameList(earlier.parts, parts);
      const composed = isSame ? earlier.layer : composeLayers(["absent"], parts, files.berths.has(stem), report);
      known.set(template, { parts, layer: composed });
      return composed;
    };
    return {
      layer,
      done: () => {
        this.#known = known;
      },
    };
  }
}

interface TemplateLayer {
  readonly parts: readonly ConfigFile[];
  readonly layer: Layer;
}

/**
 * The berths of these files, by name, one at a time: what is made of one is gone before the next. A berth whose files
 * could not be read is reported, and has no table.
 */
export function* composeBerths(
  files: ConfigFiles,
  report: Report,
  templates: TemplateCache,
): Generator<ComposedBerth, void, undefined> {
  const { layer: template, done } = templates.begin(files, report);
  for (const stem of [...files.berths.keys()].sort(compareText)) {
    const name = parseBerthName(stem);
    const file = files.berths.get(stem);
    if (name === undefined || file === undefined) continue;
    if (name.kind === "template") {
      // Reports its syntax errors, even if it has no instance.
      template(name.template);
    } else if (!isMasked(name, file)) {
      const below = name.kind === "instance" ? template(name.template) : "absent";
      const own = filesOf(files, stem);
      const origin = { file: file.path, line: 1 };
      const table = (): Table | undefined => {
        const layer = composeLayers([below], own, true, report);
        if (layer === "absent") reportNoTemplate(name, origin, report);
        return typeof layer === "object" ? layer : undefined;
      };
      const none: (ConfigFile | Layer)[] = [below];
      yield { name, origin, parts: none.concat(own), table };
    }
  }
  done();
  reportOrphans(files, report);
}

/** Whether both have the same objects. */
export function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((one, at) => one === b[at]);
}

/** A berth's or template's own file, if there is one, and its drop-ins. */
function filesOf({ berths, dropIns }: ConfigFiles, stem: string): ConfigFile[] {
  const own = berths.get(stem);
  const others = dropIns.get(stem)?.files ?? [];
  return own === undefined ? [...others] : [own, ...others];
}

/** Merges own file and drop-ins over `below`. Drop-ins alone make no berth: then it is "absent". */
function composeLayers(below: readonly Layer[], files: readonly ConfigFile[], hasOwn: boolean, report: Report): Layer {
  const own = hasOwn ? files.slice(0, 1) : [];
  const base = merge([...below, ...own.map((file) => parseFile(file, report))]);
  if (base === "absent") return base;
  return merge([base, ...files.slice(own.length).map((file) => parseFile(file, report))]);
}

function merge(layers: readonly Layer[]): Layer {
  if (layers.includes("failed")) return "failed";
  const tables = layers.filter((layer) => typeof layer === "object");
  return tables.length === 0 ? "absent" : tables.reduce(mergeTables);
}

function parseFile(file: ConfigFile, report: Report): Layer {
  if (isEmpty(file)) return "absent";
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
