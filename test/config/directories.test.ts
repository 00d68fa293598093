import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { defaultConfigDirectories, defaultStateDirectory } from "../../src/config/directories.ts";

test("root reads the vendor's directory, and the administrator's over it", () => {
  expect(defaultConfigDirectories({ XDG_CONFIG_HOME: "/x" }, 0)).toEqual(["/usr/lib/berthd", "/etc/berthd"]);
});

test("others read their own, by XDG_CONFIG_HOME or else below HOME", () => {
  expect(defaultConfigDirectories({ HOME: "/home/a", XDG_CONFIG_HOME: "/x" }, 1000)).toEqual(["/x/berthd"]);
  expect(defaultConfigDirectories({ HOME: "/home/a" }, 1000)).toEqual(["/home/a/.config/berthd"]);
});

test("a relative XDG_CONFIG_HOME counts as none, as the specification says", () => {
  expect(defaultConfigDirectories({ HOME: "/home/a", XDG_CONFIG_HOME: "x/" }, 1000)).toEqual([
    "/home/a/.config/berthd",
  ]);
});

test("root keeps its state in /var/lib/berthd, others in their own, by XDG_STATE_HOME or else below HOME", () => {
  expect(defaultStateDirectory({ XDG_STATE_HOME: "/x" }, 0)).toBe("/var/lib/berthd");
  expect(defaultStateDirectory({ HOME: "/home/a", XDG_STATE_HOME: "/x" }, 1000)).toBe("/x/berthd");
  expect(defaultStateDirectory({ HOME: "/home/a", XDG_STATE_HOME: "x/" }, 1000)).toBe("/home/a/.local/state/berthd");
  expect(defaultStateDirectory({ HOME: "/home/a" }, 1000)).toBe("/home/a/.local/state/berthd");
});

test("without HOME, it is that of the account", () => {
  for (const env of [{}, { HOME: "" }]) {
    expect(defaultConfigDirectories(env, 1000)).toEqual([join(homedir(), ".config/berthd")]);
    expect(defaultStateDirectory(env, 1000)).toBe(join(homedir(), ".local/state/berthd"));
  }
});
