import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeFolders } from "../src/make-folders.ts";
import { TestFolder } from "./support/broker.ts";

it("below /proc fails at once, where mkdir says ENOENT for ever", () => {
  expect(() => makeFolders("/proc/berthd-test/deep", 0o755)).toThrow(/ENOENT.*\/proc\/berthd-test/);
  expect(() => makeFolders("/proc/berthd-test", 0o755)).toThrow(/ENOENT/);
});

it("makes every folder that is missing, with the mode, and leaves those that exist", () => {
  using folder = new TestFolder();
  chmodSync(folder.path, 0o711);
  const path = join(folder.path, "a/b/c");
  makeFolders(path, 0o700);
  makeFolders(path, 0o755);
  expect([path, join(path, ".."), folder.path].map((one) => statSync(one).mode & 0o777)).toEqual([0o700, 0o700, 0o711]);
});

it("gives new folders their mode whatever the umask: a group's console stays reachable under UMask=0077", () => {
  using folder = new TestFolder();
  const path = join(folder.path, "a/b");
  const before = process.umask(0o077);
  try {
    makeFolders(path, 0o755);
  } finally {
    process.umask(before);
  }
  expect([path, join(path, "..")].map((one) => statSync(one).mode & 0o777)).toEqual([0o755, 0o755]);
});

it("says what is in the way", () => {
  using folder = new TestFolder({ file: "" });
  writeFileSync(join(folder.path, "other"), "");
  mkdirSync(join(folder.path, "there"));
  expect(() => makeFolders(join(folder.path, "file"), 0o755)).toThrow(/EEXIST/);
  expect(() => makeFolders(join(folder.path, "other/below"), 0o755)).toThrow(/ENOTDIR/);
});
