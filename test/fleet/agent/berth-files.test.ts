/** The agent's berth files, and those of the host that are in their way. */
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { BerthFiles, defaultConfigFolders } from "../../../packages/fleet/src/agent/berth-files.ts";
import { defaultConfigDirectories } from "../../../src/config/directories.ts";
import { TestFolder } from "../../support/broker.ts";

it.each([
  ["other/a-1.toml", (path: string) => writeFileSync(path, "")],
  ["other/a-1.toml", (path: string) => symlinkSync("/dev/null", path)],
  ["other/a-1.toml", (path: string) => symlinkSync("/nowhere/at/all", path)],
  ["other/a-1.toml.d", (path: string) => mkdirSync(path)],
  ["own/a-1.toml", (path: string) => symlinkSync("/dev/null", path)],
  ["own/a-1.toml", (path: string) => writeFileSync(path, "")],
])("%s is in the way of a berth (%#)", (name, make) => {
  using folder = new TestFolder({ "own/.keep": "", "other/a-10.toml": "", "other/.keep": "" });
  const [own, other] = [join(folder.path, "own"), join(folder.path, "other")];
  const files = new BerthFiles(own, ["/nowhere", `${own}/`, other]);
  expect(files.inTheWayOf("a-1")).toBe(undefined);
  make(join(folder.path, name));
  expect(files.inTheWayOf("a-1")).toBe(join(folder.path, name));
  expect(files.inTheWayOf("a-2")).toBe(undefined);
});

it.each([{ HOME: "/home/a" }, { HOME: "/home/a", XDG_CONFIG_HOME: "/c" }, { HOME: "/home/a", XDG_CONFIG_HOME: "c" }])(
  "the folders by default are those of berthd, with %j",
  (env) => {
    for (const uid of [0, 1000]) expect(defaultConfigFolders(env, uid)).toEqual(defaultConfigDirectories(env, uid));
  },
);

it("knows after a restart which berths have never begun here, and leaves no file of theirs", () => {
  using folder = new TestFolder();
  const files = new BerthFiles(folder.path);
  for (const berth of ["a", "b", "c"]) files.write({ berth, generation: 1, config: {} });
  files.setStarted("a");
  files.setStarted("a");

  const later = new BerthFiles(folder.path);
  const unstarted = (): string[] => ["a", "b", "c"].filter((berth) => later.isUnstarted(berth));
  expect(unstarted()).toEqual(["b", "c"]);
  expect([...later.read().keys()].sort()).toEqual(["a", "b", "c"]);
  // It comes again, and has not begun in its new generation.
  later.remove("a");
  later.write({ berth: "a", generation: 2, config: {} });
  expect(unstarted()).toEqual(["a", "b", "c"]);

  for (const berth of ["a", "b", "c"]) later.remove(berth);
  expect(unstarted()).toEqual([]);
  expect(readdirSync(folder.path)).toEqual([]);
});
