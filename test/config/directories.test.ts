import { expect, test } from "vitest";
import { defaultConfigDirectories } from "../../src/config/directories.ts";

test("root reads the vendor's directory, and the administrator's over it", () => {
  expect(defaultConfigDirectories({ XDG_CONFIG_HOME: "/x" }, 0)).toEqual(["/usr/lib/berthd", "/etc/berthd"]);
});

test("others read their own, by XDG_CONFIG_HOME or else below HOME", () => {
  expect(defaultConfigDirectories({ HOME: "/home/a", XDG_CONFIG_HOME: "/x" }, 1000)).toEqual(["/x/berthd"]);
  expect(defaultConfigDirectories({ HOME: "/home/a" }, 1000)).toEqual(["/home/a/.config/berthd"]);
});

test("a relative XDG_CONFIG_HOME counts as none, as the specification says", () => {
  expect(defaultConfigDirectories({ HOME: "/home/a", XDG_CONFIG_HOME: "x" }, 1000)).toEqual(["/home/a/.config/berthd"]);
});
