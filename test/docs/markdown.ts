/** The documentation as tests read it: files, fenced blocks, headings, tables. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/native.ts";

/** The pages, as paths from the root of the repository. */
export const pages: readonly string[] = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "SECURITY.md",
  ...readdirSync(join(packageRoot, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

export function read(path: string): string {
  return readFileSync(join(packageRoot, path), "utf8");
}

/** The texts of the fenced blocks in a language, in order. */
export function blocks(text: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm");
  return Array.from(text.matchAll(fence), ([, block = ""]) => block);
}

/** What stands under a heading, up to the next one of its level or above. */
export function section(text: string, heading: string): string {
  const level = /^#+/.exec(heading)?.[0].length ?? 0;
  const start = text.indexOf(`${heading}\n`);
  if (start < 0) throw new Error(`there is no heading "${heading}"`);
  const rest = text.slice(start + heading.length + 1);
  const end = new RegExp(`^#{1,${level}} `, "m").exec(withoutBlocks(rest))?.index;
  return rest.slice(0, end);
}

/** The same text with the insides of fenced blocks blanked, so that a comment in one is no heading. */
export function withoutBlocks(text: string): string {
  return text.replace(/^```[\s\S]*?^```$/gm, (block) => block.replace(/[^\n]/g, " "));
}

/** The cells of the first table in a text, without its two lines of titles. Backticks around a cell are removed. */
export function tableRows(text: string): string[][] {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => line.startsWith("|"));
  const length = lines.slice(first).findIndex((line) => !line.startsWith("|"));
  return lines.slice(first + 2, length < 0 ? undefined : first + length).map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim().replace(/^`(.*)`$/, "$1")),
  );
}
