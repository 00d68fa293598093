/** The package as it is published: compiled, found by its name, and the program of its README run as it stands. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { blocks, read } from "../docs/markdown.ts";
import { TestFolder } from "../support/broker.ts";

it("the program of the README prints what the README shows", { timeout: 120_000 }, () => {
  const readme = read("packages/fleet/README.md");
  const [program = ""] = blocks(readme, "js");
  const [shown = ""] = blocks(readme, "text");
  using folder = new TestFolder({ "decide.mjs": program });
  const installed = join(folder.path, "node_modules/berthd-fleet");
  mkdirSync(installed, { recursive: true });
  copyFileSync(join(packageRoot, "packages/fleet/package.json"), join(installed, "package.json"));
  const tsc = join(packageRoot, "node_modules/typescript/bin/tsc");
  const project = join(packageRoot, "packages/fleet/tsconfig.json");
  execFileSync(process.execPath, [tsc, "-p", project, "--outDir", join(installed, "dist")], { stdio: "pipe" });

  const said = execFileSync(process.execPath, ["decide.mjs"], { cwd: folder.path, encoding: "utf8" });
  expect(shown.trim()).toContain("arena-1: h1");
  expect(said.trim()).toBe(shown.trim());
});
