/** docs/bind-delivery.md says what the code does: the table of options, the message, the recipes. */
import { expect, test } from "vitest";
import type { Accounts } from "../../src/accounts.ts";
import { carriedOptions } from "../../src/config/keys/socket-options.ts";
import { loadConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/toml/problem.ts";
import { TestFolder } from "../support/broker.ts";
import { blocks, read, section, tableRows } from "./markdown.ts";

const page = read("docs/bind-delivery.md");

/** A system that has every user an example may name. */
const accounts: Accounts = {
  passwd: (user) => ({ name: String(user), uid: 1000, gid: 1000, groups: [1000], home: "/", shell: "/bin/sh" }),
  group: (group) => ({ name: String(group), gid: 1000 }),
};

test("every option that is carried over is in the table, in the same order, and no other", () => {
  const documented = tableRows(section(page, "## What is carried over")).map(([name]) => name);
  expect(documented).toEqual(carriedOptions.map(({ name }) => name));
});

test("each recipe loads, and asks for bind delivery on ports that its command names", () => {
  const recipes = blocks(section(page, "## Recipes"), "toml");
  expect(recipes.length).toBe(section(page, "## Recipes").match(/^### /gm)?.length);
  for (const recipe of recipes) {
    const name = /^# (\S+\.toml)\n/.exec(recipe)?.[1] ?? "";
    using folder = new TestFolder({ [name]: recipe });
    const { specs, problems } = loadConfig({ directories: [folder.path], accounts });
    expect(problems.map(formatProblem)).toEqual([]);
    const [spec] = specs;
    expect(spec?.server.deliver).toEqual(["bind"]);
    expect(spec?.server.user).toBeDefined();
    const explicit = spec?.server.command.filter((word) => /^\d{4,5}$/.test(word)).map(Number) ?? [];
    const ports = spec?.sockets.flatMap(({ listen }) => listen.map(({ address }) => "port" in address && address.port));
    for (const port of explicit) expect(ports).toContain(port);
  }
});

test("what a broker says when it goes is quoted as it says it", () => {
  const [, quoted = ""] = /^2 (servers with bind delivery [^\n]+)$/m.exec(page) ?? [];
  expect(read("src/broker/bind/interceptions.ts")).toContain(quoted);
  expect(quoted).not.toBe("");
});
