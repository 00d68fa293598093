/** What the build makes: small, and of nobody else's. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { packageRoot } from "../../../src/native.ts";

const folder = join(packageRoot, "packages/web/dist/page");
const text = (file: string): string => readFileSync(join(folder, file), "utf8");

/** The files that a page loads before it shows anything: what it names, and what these import. */
function firstLoad(page: string): readonly string[] {
  const files = new Set([page]);
  for (const file of files) {
    const named = text(file).matchAll(/(?:href|src)="\/([\w.-]+)"|(?:from|import)\s*"\/([\w.-]+)"/g);
    for (const [, linked, imported] of named) files.add(linked ?? imported ?? page);
  }
  return [...files];
}

it.each(["index.html", "public.html"])("the first load of %s is at most 60 KB compressed", (page) => {
  const sizes = firstLoad(page).map((file) => gzipSync(text(file)).length);
  expect(sizes.length).toBeGreaterThan(3);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(60_000);
});

it("the detail, the plots and the quiet hours are loaded on demand", () => {
  const first = firstLoad("index.html").join(" ");
  for (const later of ["detail", "plots", "quiet-view"]) {
    expect(readdirSync(folder).filter((file) => file.startsWith(`${later}-`))).toHaveLength(1);
    expect(first).not.toContain(`${later}-`);
  }
});

it.each(["index.html", "public.html"])("%s has no inline handler and no style attribute", (page) => {
  expect(text(page)).not.toMatch(/\son\w+=|\sstyle=|<style/);
});

it("both pages draw the same icons: what public.html defines is in index.html too", () => {
  const symbols = text("public.html").match(/<symbol .*<\/symbol>/g) ?? [];
  expect(symbols.length).toBeGreaterThan(3);
  expect(symbols.filter((symbol) => !text("index.html").includes(symbol))).toEqual([]);
});

it("every file but the pages carries a hash of what it holds", () => {
  const others = readdirSync(folder).filter((file) => !file.endsWith(".html"));
  expect(others.filter((file) => !/-[A-Z0-9]{8}\.(js|css|svg)$/.test(file))).toEqual([]);
});
