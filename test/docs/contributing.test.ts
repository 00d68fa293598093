/** The files for contributors, held against the tree: what they name exists, and what they repeat agrees. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { floors } from "../support/floors.ts";
import { section, tableRows } from "./markdown.ts";

const read = (path: string): string => readFileSync(join(packageRoot, path), "utf8");

interface Manifest {
  version: string;
  author: string;
  homepage: string;
  bugs: string;
  repository: { url: string };
  engines: { node: string };
  bin: Record<string, string>;
  files: string[];
  man: string[];
  scripts: Record<string, string>;
}
const manifest = JSON.parse(read("package.json")) as Manifest;

/** The first two numbers of a Node version. */
function release(text: string): [number, number] {
  const match = /(\d+)\.(\d+)/.exec(text);
  if (match === null) throw new Error(`${text} names no minor version`);
  return [Number(match[1]), Number(match[2])];
}

describe("package.json", () => {
  it("publishes only what exists or what a build makes", () => {
    const made = ["dist", "prebuilds"];
    const missing = [...manifest.files, ...manifest.man, ...Object.values(manifest.bin)].filter(
      (path) =>
        !made.some((folder) => path === folder || path.startsWith(`${folder}/`)) &&
        !existsSync(join(packageRoot, path)),
    );
    expect(missing).toEqual([]);
  });

  it("names the holder of the licence and one repository", () => {
    const holder = /Copyright \(c\) \d+ (.+)/.exec(read("LICENSE"))?.[1];
    expect(manifest.author.toLowerCase()).toBe(holder?.toLowerCase());
    const home = "https://github.com/berthd/berthd";
    expect(manifest.repository.url).toBe(`git+${home}.git`);
    expect(manifest.bugs).toBe(`${home}/issues`);
    expect(manifest.homepage).toBe(`${home}#readme`);
  });
});

describe(".nvmrc", () => {
  it("is a Node that the package supports", () => {
    const [major, minor] = release(read(".nvmrc"));
    const [least, leastMinor] = release(manifest.engines.node);
    expect(major > least || (major === least && minor >= leastMinor)).toBe(true);
  });
});

describe.each([
  ...readdirSync(join(packageRoot, ".github/workflows")).map((name) => `.github/workflows/${name}`),
  ".github/pull_request_template.md",
  "docs/releasing.md",
])("%s", (path) => {
  it("runs only scripts that exist", () => {
    const text = read(path);
    const scripts = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name ?? "");
    const files = [...text.matchAll(/\.ci\/\w+/g)].map(([name]) => name);
    if (/npm test\b/.test(text)) scripts.push("test");
    expect(scripts.length + files.length).toBeGreaterThan(0);
    expect(scripts.filter((name) => !(name in manifest.scripts))).toEqual([]);
    expect(files.filter((name) => !existsSync(join(packageRoot, name)))).toEqual([]);
  });
});

it("CHANGELOG.md has a section for the version in package.json", () => {
  expect(read("CHANGELOG.md")).toContain(`## [${manifest.version}]`);
});

it("SECURITY.md and the issue forms send a hole to the same private place", () => {
  const place = "https://github.com/berthd/berthd/security/advisories/new";
  expect(read("SECURITY.md")).toContain(place);
  expect(read(".github/ISSUE_TEMPLATE/config.yml")).toContain(place);
  expect(read("SECURITY.md")).toContain("(docs/security.md)");
});

describe("the tables of folders", () => {
  const chapter = section(read("CONTRIBUTING.md"), "## Where things live");
  const folders = (path: string): string[] =>
    readdirSync(join(packageRoot, path), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${path}/${name}/`);

  it("have every folder of src and native", () => {
    const listed = tableRows(chapter).map(([folder]) => folder);
    expect([...listed].sort()).toEqual([...folders("native"), ...folders("src")].sort());
  });

  it("have every other folder of the repository", () => {
    const made = [
      ".git",
      ...read(".gitignore")
        .split("\n")
        .map((line) => line.replace(/\/$/, "")),
    ];
    const there = readdirSync(packageRoot, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !made.includes(entry.name) && !["native", "src"].includes(entry.name))
      .map(({ name }) => `${name}/`);
    const listed = tableRows(chapter.slice(chapter.indexOf("| beside them |"))).flatMap(([names = ""]) =>
      names.split(", ").map((name) => name.replaceAll("`", "")),
    );
    expect(listed.sort()).toEqual(there.sort());
  });

  it.each(Object.entries(floors))(
    "have the rooms of %s, in the order that the layering test enforces",
    (folder, rooms) => {
      const table = chapter.slice(chapter.indexOf(`| room of \`src/${folder}/\` |`));
      const rows = tableRows(table).map(([names = ""]) =>
        names.split(", ").map((name) => name.replaceAll("`", "").replace(/\/$/, "")),
      );
      expect(rows).toEqual(rooms);
    },
  );

  it("follow a message through files that exist", () => {
    const way = /A message's way:([\s\S]*?)\n\n/.exec(chapter)?.[1] ?? "";
    const files = Array.from(way.matchAll(/`(src\/[^`]+)`/g), ([, file = ""]) => file);
    expect(files.length).toBeGreaterThan(3);
    expect(files.filter((file) => !existsSync(join(packageRoot, file)))).toEqual([]);
  });
});
