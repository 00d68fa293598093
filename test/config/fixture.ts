/** Configuration directories on disk, and a system of a few users, for the tests of this folder. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import type { Accounts, PasswdEntry } from "../../src/accounts.ts";
import type { BerthSpec } from "../../src/config/keys/spec.ts";
import { type LoadedConfig, loadConfig } from "../../src/config/load.ts";
import { temporaryFolder } from "../support/folders.ts";

const groups = [
  { name: "players", gid: 70 },
  { name: "domain users", gid: 513 },
];

/** Users arena-bob (1001) and games (60), groups players (70) and "domain users" (513). */
export const accounts: Accounts = {
  passwd: (user) => [bob, games].find((entry) => entry.name === user || entry.uid === user),
  group: (group) => groups.find((entry) => entry.name === group || entry.gid === group),
};

export const bob: PasswdEntry = {
  name: "arena-bob",
  uid: 1001,
  gid: 1001,
  groups: [1001, 70],
  home: "/home/bob",
  shell: "/bin/sh",
};
const games = { name: "games", uid: 60, gid: 60, groups: [60], home: "/usr/games", shell: "/usr/sbin/nologin" };

/** A text, or `{ link }` for a symbolic link. */
export type Files = Readonly<Record<string, string | { readonly link: string }>>;

/** A folder that is gone after the test, with these files in it. */
export function folder(files: Files): string {
  const root = temporaryFolder("berthd-config-");
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    if (typeof content === "string") writeFileSync(join(root, path), content);
    else symlinkSync(content.link, join(root, path));
  }
  return root;
}

/** Loads `lib` below `etc`; problems are strings without the folder: `etc/a.toml:1: message | remedy`. */
export function load(files: Files): { specs: LoadedConfig["specs"]; problems: string[] } {
  const root = folder(files);
  const { specs, problems } = loadConfig({ directories: [join(root, "lib"), join(root, "etc")], accounts });
  const texts = problems.map(({ file, line, message, remedy }) => `${file}:${line}: ${message} | ${remedy}`);
  return { specs, problems: texts.map((text) => text.replaceAll(`${root}/`, "")) };
}

/** The only berth of these files, which must be without problems. */
export function berth(files: Files): BerthSpec {
  const { specs, problems } = load(files);
  const [spec, ...others] = specs;
  if (spec === undefined || others.length > 0 || problems.length > 0) {
    throw new Error(`expected one berth: ${specs.map(({ name }) => name).join(" ")}\n${problems.join("\n")}`);
  }
  return spec;
}

/** The problems of one file a.toml, without its name: `1: message | remedy`. */
export function problemsOf(toml: string): string[] {
  return load({ "etc/a.toml": toml }).problems.map((problem) => problem.replace("etc/a.toml:", ""));
}

/** A socket section that is in order. */
export const socket = '[sockets.game]\nlisten = ["udp://127.0.0.1:27960"]\n';
