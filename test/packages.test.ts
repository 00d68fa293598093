/** The packages beside berthd: what they import, and that their files are short. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../src/native.ts";
import { circles, imports, localImports, type Sources, wideComments } from "./support/layers.ts";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

const manifestOf = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const packages = readdirSync(join(packageRoot, "packages")).filter((name) =>
  existsSync(join(packageRoot, "packages", name, "package.json")),
);

/** Modules that files of a package import and that its package.json does not bring. */
function undeclared(sources: Sources, dependencies: readonly string[]): string[] {
  return [...sources].flatMap(([file, text]) =>
    imports(text)
      .filter((name) => !name.startsWith(".") && !name.startsWith("node:"))
      .filter((name) => !dependencies.includes(packageOf(name)))
      .map((name) => `${file} -> ${name}`),
  );
}

/** `ajv` for `ajv/dist/2020.js`. A file inside of berthd is no part of what that offers, so it stays as it is. */
function packageOf(name: string): string {
  if (name.startsWith("berthd/")) return name;
  return name
    .split("/")
    .slice(0, name.startsWith("@") ? 2 : 1)
    .join("/");
}

/** Local imports that name no file of the same tree. */
function outside(sources: Sources): string[] {
  return [...sources.keys()].flatMap((file) =>
    localImports(sources, file)
      .filter((target) => !sources.has(target))
      .map((target) => `${file} -> ${target}`),
  );
}

describe.each(packages)("packages/%s", (name) => {
  const folder = join(packageRoot, "packages", name);
  const manifest = manifestOf(folder);
  const source = join(folder, "src");
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => /\.tsx?$/.test(file));
  const texts: Sources = new Map(files.map((file) => [file, readFileSync(join(source, file), "utf8")]));

  it("imports nothing of berthd but the public package, and only what its package.json names", () => {
    expect(texts.size).toBeGreaterThan(0);
    expect(outside(texts)).toEqual([]);
    expect(undeclared(texts, Object.keys(manifest.dependencies ?? {}))).toEqual([]);
  });

  it("goes with the berthd of this checkout", () => {
    const { version } = manifestOf(packageRoot);
    expect(manifest.version).toBe(version);
    // Those that use it.
    expect(manifest.dependencies?.["berthd"] ?? version).toBe(version);
  });

  it("has no circle of imports", () => {
    expect(circles(texts)).toEqual([]);
  });

  it("has short files, and short lines in their comments", () => {
    const long = [...texts].filter(([, text]) => text.split("\n").length > 301).map(([file]) => file);
    expect(long).toEqual([]);
    expect(wideComments(texts)).toEqual([]);
  });
});

it("packages/doorman decides without doing: it imports no module that reaches a socket, a file or a clock", () => {
  const source = join(packageRoot, "packages/doorman/src");
  const texts = readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(source, file), "utf8"));
  expect(texts.length).toBeGreaterThan(10);
  const modules = texts.flatMap((text) => imports(text).filter((name) => !name.startsWith(".")));
  expect(modules).toEqual(["node:crypto"]); // for a keyed hash
  expect(texts.filter((text) => /\b(?:Date\.|performance\.|setTimeout|setInterval|process\.)/.test(text))).toEqual([]);
});

it("placement of packages/fleet decides without doing: it imports no module, and takes no clock and no chance", () => {
  const source = join(packageRoot, "packages/fleet/src");
  const texts = readdirSync(source, { recursive: true, encoding: "utf8" })
    .filter((file) => /^(model|placement)\/.*\.ts$/.test(file))
    .map((file) => readFileSync(join(source, file), "utf8"));
  expect(texts.length).toBeGreaterThan(10);
  expect(texts.flatMap((text) => imports(text).filter((name) => !name.startsWith(".")))).toEqual([]);
  expect(texts.filter((text) => /\b(?:Date\.|performance\.|setTimeout|process\.|Math\.random)/.test(text))).toEqual([]);
});

it("no file of src/ imports the codecs: only the doorman's process loads them, by an address that it is given", () => {
  const source = join(packageRoot, "src");
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const naming = files.filter((file) =>
    imports(readFileSync(join(source, file), "utf8")).some((name) => /berthd-doorman|packages\/doorman/.test(name)),
  );
  expect(files.length).toBeGreaterThan(100);
  expect(naming).toEqual([]);
});

it("an import of berthd's inside is noticed, by a path or by a name", () => {
  const sources: Sources = new Map([
    ["a.ts", 'import { native } from "../../../src/native.ts";\nimport { connect } from "berthd";'],
    ["b.ts", 'import { native } from "berthd/dist/native.js";\nimport { a } from "./a.ts";'],
  ]);
  expect(outside(sources)).toEqual([`a.ts -> ${relative("/x/y/z", "/src/native.ts")}`]);
  expect(undeclared(sources, ["berthd"])).toEqual(["b.ts -> berthd/dist/native.js"]);
});
