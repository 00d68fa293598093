/** docs/security.md as its readers see it. What it promises is tested where it happens: the page names those tests. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { read, withoutBlocks } from "./markdown.ts";

const page = withoutBlocks(read("docs/security.md"));

test("no list is split: a second one in a section has a line that says what it lists", () => {
  const split: string[] = [];
  for (const text of page.split(/^(?=#+ )/m)) {
    const blocks = text.trim().split(/\n{2,}/);
    const isList = (block: string | undefined): boolean => /^(-|\d+\.) /.test(block ?? "");
    const first = blocks.findIndex(isList);
    for (const [at, block] of blocks.entries()) {
      if (at > first && isList(block) && !/[:|]$/.test(blocks[at - 1] ?? "")) split.push(block.slice(0, 60));
    }
  }
  expect(split).toEqual([]);
});

test("every test that the page names is there", () => {
  const named = Array.from(page.matchAll(/`(test\/[\w./-]+)`/g), ([, path = ""]) => path);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((path) => !existsSync(join(packageRoot, path)))).toEqual([]);
});
