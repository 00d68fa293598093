/** docs/bind-delivery.md says what the code does: the table of options, the message, the recipes. */
import { expect, test } from "vitest";
import type { Accounts } from "../../src/accounts.ts";
import { tenantOptions } from "../../src/broker/plans/tenant-options.ts";
import { carriedOptions } from "../../src/config/keys/carried-options.ts";
import { loadConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/toml/problem.ts";
import { type ListenAddress, parseListenAddress } from "../../src/net/address.ts";
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

function listenOf(text: string): ListenAddress {
  const listen = parseListenAddress(text);
  if (typeof listen === "string") throw new Error(listen);
  return listen;
}

test("every other option that a tenant can set comes from the berth, or is named as lost", () => {
  const kinds = ["tcp://127.0.0.1:1", "tcp://[::1]:1", "udp://127.0.0.1:1", "udp://[::1]:1", "unix:///a"];
  const all = new Set(kinds.flatMap((text) => tenantOptions(listenOf(text)).map(({ name }) => name)));
  const carried = carriedOptions.map(({ name }) => name);
  const [, ofBerth = ""] = /These come from the berth: ([\s\S]*?)\n\n/.exec(page) ?? [];
  const [, lost = ""] = /\*\*These options\*\*([\s\S]*?)\. Also/.exec(page) ?? [];
  const names = (text: string): string[] => text.match(/\b(?:SO|IP|IPV6|TCP|UDP)_[A-Z0-9_]+/g) ?? [];
  const told = [...carried, ...names(ofBerth), ...names(lost)];
  // It can be read, and is changed by IPV6_ADDRFORM alone; IPV6_FREEBIND is IP_FREEBIND of the other family.
  const untold = [...all].filter((name) => !told.includes(name) && !["SO_DOMAIN", "IPV6_FREEBIND"].includes(name));
  expect(untold).toEqual([]);
  expect(names(lost).filter((name) => carried.includes(name) || !all.has(name))).toEqual([]);
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
