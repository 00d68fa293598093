/** The manuals have every option, command and key; the pages point at nothing that is not there. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { usage as sdkUsage } from "../../packages/fleet/src/sdk/options.ts";
import { usage as webUsage } from "../../packages/web/src/options/options.ts";
import { createProgram } from "../../src/cli/program.ts";
import { configurationKeys } from "../../src/config/keys/berth.ts";
import { launcherPath, programPath } from "../../src/launcher-path.ts";
import { packageRoot } from "../../src/native.ts";
import { documentedKeys, keyRows, withKeyList } from "./key-lists.ts";
import { pages, read, withoutBlocks } from "./markdown.ts";

/** Long options of a manual in mdoc(7), where `Fl -json` is --json. */
function optionsOf(manual: string): Set<string> {
  return new Set(Array.from(manual.matchAll(/(?:Fl|,|^\.Fl [^\n]*) -([a-z][a-z-]+)/gm), ([, name = ""]) => name));
}

/** Long options that a program's own help speaks of at the beginning of a line. */
function optionsInHelp(help: string): Set<string> {
  const lines = help.split("\n").filter((line) => /^ +-/.test(line));
  return new Set(lines.flatMap((line) => Array.from(line.matchAll(/--([a-z][a-z-]+)/g), ([, name = ""]) => name)));
}

/** A command and all below it. */
function andBelow(command: Command): Command[] {
  return [command, ...command.commands.flatMap(andBelow)];
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: "utf8" });
}

test("berthd(8) has the options of berthd, and no other", () => {
  const help = run(process.execPath, join(packageRoot, "dist/cli/berthd.js"), "--help");
  expect(optionsOf(read("man/berthd.8"))).toEqual(optionsInHelp(help));
});

test("berth-launch(1) has the options of berth-launch, and no other", () => {
  expect(optionsOf(read("man/berth-launch.1"))).toEqual(optionsInHelp(run(launcherPath(), "--help")));
});

test.each([
  ["shift-own", "man/shift-own.1"],
  ["shift-mount", "man/shift-mount.8"],
] as const)("the manual of %s has its options, and no other", (name, manual) => {
  expect(optionsOf(read(manual))).toEqual(optionsInHelp(run(programPath(name), "--help")));
});

test("berth-web(1) has the options of berth-web in its synopsis and its list, and no other", () => {
  const manual = read("packages/web/man/berth-web.1");
  const synopsis = /^\.Sh SYNOPSIS\n([\s\S]*?)^\.Sh /m.exec(manual)?.[1] ?? "";
  const list = Array.from(manual.matchAll(/^\.It (Fl .*)$/gm), ([, item = ""]) => item).join("\n");
  const options = optionsInHelp(webUsage);
  expect(optionsOf(list)).toEqual(options);
  expect(new Set([...optionsOf(synopsis), "help", "version"])).toEqual(options);
  // --observer is one of berthd's.
  expect(optionsOf(manual)).toEqual(new Set([...options, "observer"]));
});

test("berth-sdk(1) has the options of berth-sdk in its synopsis and its list, and no other", () => {
  const manual = read("packages/fleet/man/berth-sdk.1");
  const synopsis = /^\.Sh SYNOPSIS\n([\s\S]*?)^\.Sh /m.exec(manual)?.[1] ?? "";
  const options = optionsInHelp(sdkUsage);
  expect(optionsOf(manual)).toEqual(options);
  expect(new Set([...optionsOf(synopsis), "help", "version"])).toEqual(options);
});

test("the package of berth-sdk brings its manual and its program", () => {
  const { man, files, bin } = JSON.parse(read("packages/fleet/package.json")) as {
    man: string[];
    files: string[];
    bin: Record<string, string>;
  };
  const manuals = man.map((path) => read(join("packages/fleet", path)));
  expect(manuals.some((text) => text.includes(".Dt BERTH-SDK 1"))).toBe(true);
  expect(files).toEqual(["dist", "man"]);
  expect(bin["berth-sdk"]).toBe("dist/sdk/main.js");
  expect(read("packages/fleet/src/sdk/main.ts")).toMatch(/^#!\/usr\/bin\/env node\n/);
});

test("the package of berth-web brings its manual", () => {
  const { man, files } = JSON.parse(read("packages/web/package.json")) as { man: string; files: string[] };
  expect(read(join("packages/web", man))).toContain(".Dt BERTH-WEB 1");
  expect(files).toContain(dirname(man).replace("./", ""));
});

test("berth(1) has the commands and options of berth, and no other", async () => {
  const manual = read("man/berth.1");
  const program = await createProgram();
  const longs = ({ options }: Command): string[] => options.map(({ long }) => (long ?? "").slice(2));
  expect(optionsOf(manual)).toEqual(new Set(["help", ...andBelow(program).flatMap(longs)]));
  const commands = Array.from(manual.matchAll(/^\.It Cm ([a-z-]+)/gm), ([, name]) => name);
  expect(new Set(commands)).toEqual(new Set(["help", ...program.commands.map((command) => command.name())]));
});

test("the help of no command says the default of an option twice", async () => {
  const optionLines = andBelow(await createProgram()).flatMap((command) => {
    const help = command.createHelp();
    return command.options.map((option) => `${option.flags}: ${help.optionDescription(option)}`);
  });
  expect(optionLines).toContain("--interval <seconds>: how often to look (default: 1)");
  expect(optionLines.filter((line) => /\(default:.*\(default:/.test(line))).toEqual([]);
});

test("the synopsis of berth(1) has every command, with its options", async () => {
  const synopsis = /^\.Sh SYNOPSIS\n([\s\S]*?)^\.Sh /m.exec(read("man/berth.1"))?.[1] ?? "";
  const shown = synopsis.split(/^\.Nm$/m).flatMap((usage) => {
    const name = /^\.Cm ([a-z -]+)$/m.exec(usage)?.[1];
    return name === undefined
      ? []
      : [[name, new Set(Array.from(usage.matchAll(/ -([a-z][a-z-]+)/g), ([, option]) => option))] as const];
  });
  const leaves = (command: Command, path: readonly string[] = []): [string, Command][] =>
    command.commands.length === 0
      ? [[path.join(" "), command]]
      : command.commands.flatMap((one) => leaves(one, [...path, one.name()]));
  const there = leaves(await createProgram()).map(
    ([path, { options }]) => [path, new Set(options.map(({ long }) => (long ?? "").slice(2)))] as const,
  );
  expect(new Map(shown.filter(([name]) => name !== "help"))).toEqual(new Map(there));
});

test("berthd.toml(5) has every key of the configuration, and no other", () => {
  const documented = Array.from(read("man/berthd.toml.5").matchAll(/^\.It Ic ([a-z0-9-]+)$/gm), ([, key]) => key);
  expect(documented).toEqual(configurationKeys().map(({ key }) => key));
});

test("berthd.toml(5) says of each key of [sockets.NAME] what docs/configuration.md says", async () => {
  const manual = read("man/berthd.toml.5");
  const written = withKeyList(manual, "sockets.NAME", documentedKeys("sockets.NAME"));
  await expect(written).toMatchFileSnapshot("../../man/berthd.toml.5");
});

test("the manual's list is another one for a key more, and for another key, type, default, unit, socket or text", () => {
  const listOf = (...rows: string[]): string =>
    withKeyList(
      ".Ss [a]\n.Bl -tag -width Ds\n.It Ic old\n.El\n",
      "a",
      keyRows(["| key |", "| --- |", ...rows].join("\n")),
    );
  const usual = '| `size` | integer | `1` | bytes | tcp | how `big`. At [most](#most) "9" |';
  expect(listOf(usual)).toBe(
    ".Ss [a]\n.Bl -tag -width Ds\n.It Ic size\nHow big.\nAt most \\(dq9\\(dq.\nInteger.\nUnit: bytes.\nFor tcp.\nDefault: 1.\n.El\n",
  );
  for (const word of ["size", "integer", "1", "bytes", "tcp", "most"])
    expect(listOf(usual.replace(word, "other"))).not.toBe(listOf(usual));
  expect(listOf(usual, usual)).not.toBe(listOf(usual));
});

/** GitHub's anchor of a heading. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");
}

/** Pages of the repository under their address, for links from pages that are packed to those that are not. */
const repository = "https://github.com/berthd/berthd/blob/main/";
const manifest = JSON.parse(read("package.json")) as { files: string[] };
/** npm packs these as well, whatever `files` says. */
const packed = new Set([...manifest.files, "README.md", "LICENSE", "package.json"]);
const isPacked = (path: string): boolean => packed.has(path.split("/", 1)[0] ?? "");

test.each(pages)("%s: every link within the repository leads somewhere", (page) => {
  const text = withoutBlocks(read(page));
  for (const [, target = ""] of text.matchAll(/\]\(([^)]*)\)/g)) {
    const absolute = target.startsWith(repository);
    if (/^https?:/.test(target) && !absolute) continue;
    const [path = "", fragment] = (absolute ? target.slice(repository.length) : target).split("#", 2);
    const file = path === "" ? page : join(absolute ? "." : dirname(page), path);
    expect(existsSync(join(packageRoot, file)), `${page} → ${target}`).toBe(true);
    if (isPacked(page) && !absolute) expect(isPacked(file), `${page} → ${target} is not packed`).toBe(true);
    if (fragment === undefined) continue;
    const anchors = Array.from(withoutBlocks(read(file)).matchAll(/^#+ (.*)$/gm), ([, heading = ""]) =>
      anchor(heading),
    );
    expect(anchors, `${page} → ${target}`).toContain(fragment);
  }
});
