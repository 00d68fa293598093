import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Accounts } from "../../src/accounts.ts";
import { configurationKeys } from "../../src/config/keys/berth.ts";
import { loadConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/toml/problem.ts";
import { TestFolder } from "../support/broker.ts";
import { documentedKeys } from "./key-lists.ts";
import { blocks, pages, read, section } from "./markdown.ts";

const page = read("docs/configuration.md");

test.each(["sockets.NAME", "root", "tenant", "observer", "server"])(
  "[%s]: every key is documented as it is, and none is invented",
  (name) => {
    const keys = configurationKeys().filter((key) => key.section === name);
    expect(keys.length).toBeGreaterThan(0);
    expect(documentedKeys(name).map((row) => row.slice(0, 5))).toEqual(
      keys.map((key) => [key.key, key.type, key.default ?? "", key.unit ?? "", key.appliesTo ?? "all"]),
    );
  },
);

/** A system that has every user and group an example may name. */
const accounts: Accounts = {
  passwd: (user) => ({ name: String(user), uid: 1000, gid: 1000, groups: [1000], home: "/", shell: "/bin/sh" }),
  group: (group) => ({ name: String(group), gid: 1000 }),
};

function fileOf(block: string): string {
  return /^# (\S+\.toml)\n/.exec(block)?.[1] ?? "";
}

/** The files of a page: a block's first line is a comment with its name. */
function examples(text: string): Record<string, string> {
  const files = blocks(text, "toml").map((block) => [fileOf(block), block] as const);
  const instances = files
    .filter(([name]) => name.endsWith("@.toml"))
    .map(([name]) => [name.replace("@.toml", "@bob.toml"), ""] as const);
  return Object.fromEntries([...instances, ...files]);
}

/** All files of a page, once for each text of a file that the page has in several: the last text first. */
function variants(text: string): Record<string, string>[] {
  const last = examples(text);
  const others = blocks(text, "toml").flatMap((block) => {
    const name = fileOf(block);
    return last[name] === block ? [] : [{ ...last, [name]: block }];
  });
  return [last, ...others];
}

test.each(pages.filter((path) => blocks(read(path), "toml").length > 0))(
  "%s: its configuration loads without a problem, all of it together",
  (path) => {
    for (const files of variants(read(path))) {
      expect(Object.keys(files)).not.toContain("");
      using folder = new TestFolder(files);
      const { specs, problems } = loadConfig({ directories: [folder.path], accounts });
      expect(problems.map(formatProblem)).toEqual([]);
      expect(specs.length).toBe(Object.keys(files).filter((name) => !name.endsWith("@.toml")).length);
    }
  },
);

test("the example of a template gives its instance what the page says", () => {
  using folder = new TestFolder(examples(page));
  const { specs } = loadConfig({ directories: [folder.path], accounts });
  const alice = specs.find(({ name }) => name === "quake@alice");
  expect(alice?.sockets[0]?.listen.map(({ address }) => "port" in address && address.port)).toEqual([27962, 27962]);
  expect(alice?.server.command).toEqual(["node", join("/srv/quake", "server.mjs")]);
  expect(alice?.tenant.units).toEqual(["quake@alice.service"]);
});

test("a game that opens its own port can use a berth: an example of the page does", () => {
  using folder = new TestFolder(examples(section(page, "## Examples")));
  const { specs } = loadConfig({ directories: [folder.path], accounts });
  const unmodified = specs.filter(({ server }) => server.deliver.includes("bind"));
  expect(unmodified.length).toBeGreaterThan(0);
  expect(page).not.toMatch(/open their own ports? cannot/);
  expect(page).toContain('it calls bind(2) as always (`deliver = ["bind"]`)');
});

test("README: an instance can be a link to the template, as its commands make it; the next one has another port", () => {
  const readme = read("README.md");
  const [template = "", second = ""] = blocks(readme, "toml");
  const [, target = "", link = ""] = /^# ln -s (\S+) (\S+)$/m.exec(readme) ?? [];
  using folder = new TestFolder({ [target]: template, "arena@alice.toml": second });
  symlinkSync(target, join(folder.path, link));
  const { specs, problems } = loadConfig({ directories: [folder.path], accounts });
  expect(problems.map(formatProblem)).toEqual([]);
  const ports = specs.map(({ name, sockets }) => [
    name,
    sockets[0]?.listen.map(({ address }) => "port" in address && address.port),
  ]);
  expect(ports).toEqual([
    ["arena@alice", [27961, 27961]],
    ["arena@bob", [27960, 27960]],
  ]);
});
