/** The tables and pictures of docs/benchmarks.md are what `npm run bench:report` makes of bench/results. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { TestFolder } from "../support/broker.ts";

const pictures = "docs/pictures/bench";

function check(root: string): { readonly status: number | null; readonly said: string } {
  const { status, stderr } = spawnSync(process.execPath, [join(root, "scripts/bench-report.mjs"), "--check"], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, said: stderr };
}

/** A copy of what the report reads and writes. */
function copied(folder: TestFolder): string {
  for (const path of ["bench", "scripts/bench-report.mjs", "docs/benchmarks.md", pictures])
    cpSync(join(packageRoot, path), join(folder.path, path), { recursive: true });
  return folder.path;
}

describe("docs/benchmarks.md", () => {
  it("is what the report makes of the results", () => expect(check(packageRoot)).toEqual({ status: 0, said: "" }));

  it("shows each picture that there is, and no table without its result", () => {
    const page = readFileSync(join(packageRoot, "docs/benchmarks.md"), "utf8");
    const shown = Array.from(page.matchAll(/^!\[[^\]]+\]\(pictures\/bench\/(\S+)\)$/gm), ([, name]) => name);
    expect(shown.length).toBeGreaterThan(4);
    expect(shown.toSorted()).toEqual(readdirSync(join(packageRoot, pictures)).toSorted());
    const parts = page.match(/^<!-- bench \S+ -->$/gm) ?? [];
    expect(page.match(/^\d{4}-\d\d-\d\d: Linux /gm)).toHaveLength(parts.length);
  });

  it("differs once a figure is typed in, and the report mends that", () => {
    using folder = new TestFolder();
    const root = copied(folder);
    const page = join(root, "docs/benchmarks.md");
    const text = readFileSync(page, "utf8");
    writeFileSync(page, text.replace(/^(\d{4})-\d\d-\d\d: Linux /m, "$1-01-01: Linux "));
    const [picture = ""] = readdirSync(join(root, pictures));
    writeFileSync(join(root, pictures, picture), "<svg/>");
    writeFileSync(join(root, pictures, "old.svg"), "<svg/>");
    const { status, said } = check(root);
    expect(status).toBe(1);
    for (const name of ["docs/benchmarks.md", `${pictures}/${picture}`, `${pictures}/old.svg`])
      expect(said).toContain(`${name} is `);
    execFileSync(process.execPath, [join(root, "scripts/bench-report.mjs")], { timeout: 60_000 });
    expect(readFileSync(page, "utf8")).toBe(text);
    expect(check(root)).toEqual({ status: 0, said: "" });
  });
});

describe("docs/performance.md", () => {
  it("has the system calls that their test allows", () => {
    const page = readFileSync(join(packageRoot, "docs/performance.md"), "utf8");
    const [, section = ""] = page.split("### System calls of each operation\n");
    const test = readFileSync(join(packageRoot, "test/broker/system-calls.test.ts"), "utf8");
    const pairs = (text: string, pair: RegExp) =>
      Array.from(text.matchAll(pair), ([, ...counts]) => counts.map(Number));
    const allowed = pairs(test, /\{ broker: (\d+), guard: (\d+) \}/g);
    expect(allowed.length).toBeGreaterThan(3);
    expect(pairs(section.split("\n##")[0] ?? "", /\| (\d+) \| (\d+) \|$/gm)).toEqual(allowed);
  });
});

describe("--save", () => {
  it.each([
    ["bench.mjs", "--only", "lease"],
    ["bench-bind.mjs", "--binds"],
    ["bench-shift.mjs", "--files", "10"],
  ])("is refused by %s with %s, which leaves rows out", (script, ...options) => {
    const command = [join(packageRoot, "scripts", script), ...options, "--save"];
    const { status, stderr } = spawnSync(process.execPath, command, { encoding: "utf8", timeout: 60_000 });
    expect(stderr).toContain(`--save keeps all rows of a benchmark: leave out ${options[0]}\n`);
    expect(status).toBe(100);
  });
});

describe("each picture", () => {
  it.each(readdirSync(join(packageRoot, pictures)))(
    "%s is an SVG that names its axes and draws within itself",
    (name) => {
      const svg = readFileSync(join(packageRoot, pictures, name), "utf8");
      expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" viewBox="0 0 600 \d+"/);
      expect(svg).toMatch(/<title>[^<]+<\/title>\n<desc>\S[^<]* over [^<]+<\/desc>/);
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
      const height = Number(/viewBox="0 0 600 (\d+)"/.exec(svg)?.[1]);
      const points = Array.from(svg.matchAll(/<polyline points="([^"]+)"/g), ([, all = ""]) => all.split(" ")).flat();
      expect(points.length).toBeGreaterThan(2);
      for (const point of points) {
        const [x = -1, y = -1] = point.split(",").map(Number);
        expect(x >= 0 && x <= 600 && y >= 0 && y <= height).toBe(true);
      }
    },
  );
});
