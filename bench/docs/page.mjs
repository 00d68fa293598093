/**
 * The page of the benchmarks, its generated parts replaced. Such a part is between `<!-- bench NAME -->` and
 * `<!-- end -->`. Everything else is written by people, and stays. Pure.
 */
import { renderers } from "../renderers.mjs";
import { pictures } from "./pictures.mjs";
import { plot } from "./plot.mjs";

const part = /^<!-- bench (\S+) -->$[\s\S]*?^<!-- end -->$/gm;

/** The folder of the pictures, from the page's own. */
export const PICTURES = "pictures/bench";

/** `text` with its parts made of `load(name)`, and the SVGs that they show, by file name. */
export function makePage(text, load) {
  const svgs = new Map();
  const page = text.replace(part, (_, name) => {
    if (renderers[name] === undefined) throw new Error(`there is no benchmark ${name}`);
    const result = load(name);
    const plots = pictures[name]?.(result) ?? [];
    for (const { file, ...shown } of plots) svgs.set(`${file}.svg`, plot(shown));
    const images = plots.map(
      ({ file, title, x, y }) => `![${title}: ${y.label} over ${x.label}](${PICTURES}/${file}.svg)`,
    );
    const table = `\`\`\`text\n${renderers[name](result)}\n\`\`\``;
    return `<!-- bench ${name} -->\n${[table, ...images].join("\n\n")}\n<!-- end -->`;
  });
  return { page, svgs };
}
