/** What shift-own does to the files of a tree, and what it says about it. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { modeOf, ownerOf, ownersBelow, shiftOwn, shiftOwnPath, toRange } from "./support.ts";

describe("the command line of shift-own", () => {
  test.each([
    ["no shift", ["-r", "1", "/"], "--shift is missing"],
    ["no path", ["-s", "1", "-r", "1"], "PATH is missing"],
    ["an empty path", ["-s", "1", "-r", "1", ""], "PATH is missing"],
    ["two paths", ["-s", "1", "-r", "1", "a", "b"], "more than one PATH"],
    ["an option without its value", ["-s"], "option -s needs a value"],
    ["an unknown option", ["--shft", "1"], "there is no option --shft;"],
    ["a range of nothing", ["-s", "1", "-r", "0", "/"], "--range 0 is not a number from 1"],
    ["a negative number", ["-s", "-1", "-r", "1", "/"], "--shift -1 is not a number"],
    ["a number with a unit", ["-s", "1k", "-r", "1", "/"], "--shift 1k is not a number"],
    ["hexadecimal without digits", ["-s", "0x", "-r", "1", "/"], "--shift 0x is not a number"],
    ["a number that wraps around", ["-s", "18446744073709551617", "-r", "1", "/"], "is not a number"],
    ["the id that means none", ["-s", "4294967295", "-r", "1", "/"], "is not a number from 0 to 4294967294"],
    ["a range beyond the last id", ["-s", "0xfffffffe", "-r", "2", "/"], "ends above the last id, 4294967294"],
    ["no threads", ["-j", "0", "-s", "1", "-r", "1", "/"], "--threads 0 is not"],
    ["lines and JSON", ["-v", "--json", "-s", "1", "-r", "1", "/"], "--json and --verbose"],
  ])("%s is one sentence and 100", (_what, args, part) => {
    const { code, stdout, stderr } = shiftOwn(args);
    expect({ code, stdout }).toEqual({ code: 100, stdout: "" });
    expect(stderr).toMatch(/^shift-own: [^\n]+\n$/);
    expect(stderr).toContain(part);
  });

  test("the classic command line: options after the path, and a range of 0x10000 that nobody names", () => {
    using folder = new TestFolder();
    const path = `${folder.path}/`;
    const { code, stdout } = shiftOwn(["-n", "-s", "0x30000", path, "-v"]);
    const owner = ownerOf(folder.path);
    expect({ code, owner }).toEqual({ code: 0, owner: `${process.geteuid?.()}:${process.getegid?.()}` });
    expect(stdout).toMatch(/^\d+:\d+ -> \d+:\d+ \.\. \/[^\n]+\n1 file under /);
    expect(stdout).toContain(`\n1 file under ${path} would be shifted with 0x30000 using range 0x10000\n`);
  });

  test("the last range there is can be had", () => {
    using folder = new TestFolder();
    const { code, stdout } = shiftOwn(["-n", "-s", "0xfffffffe", "-r", "1", folder.path]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `1 file under ${folder.path} would be shifted with 0xfffffffe using range 0x1\n`,
    });
  });

  test("a path that is not there is 111", () => {
    const { code, stderr } = shiftOwn([...toRange, "/nonexistent/tree"]);
    expect({ code, stderr }).toEqual({
      code: 111,
      stderr: expect.stringMatching(/^shift-own: cannot open \/nonexistent\/tree: No such file[^\n]*\n$/),
    });
  });

  test("--help has examples, --version the package's version", () => {
    expect(shiftOwn(["--help"]).stdout).toMatch(/^Usage: shift-own .*\nExamples:\n {2}shift-own /s);
    expect(shiftOwn(["--version"]).stdout).toMatch(/^shift-own \d+\.\d+\.\d+\n$/);
  });
});

describe("shift-own (needs root, to change owners)", needs("root"), () => {
  /** A tree with an owner of its own for each file. */
  function tree(): TestFolder {
    const folder = new TestFolder({ "tree/bin/sh": "#!", "tree/etc/motd": "hello", outside: "" });
    const at = (name: string): string => join(folder.path, name);
    symlinkSync("/etc/passwd", at("tree/link"));
    chownSync(at("tree/bin"), 1, 2);
    chownSync(at("tree/bin/sh"), 1000, 1001);
    chownSync(at("tree/etc/motd"), 65535, 65536);
    lchownSync(at("tree/link"), 7, 8);
    return folder;
  }

  test("moves every owner into the range, says so, and does nothing the second time", () => {
    using folder = tree();
    const path = join(folder.path, "tree");
    const { code, stdout, stderr } = shiftOwn(["-v", ...toRange, `${path}/`]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").sort()).toEqual(
      [
        "",
        `0:0 -> 196608:196608 .. ${path}`,
        `0:0 -> 196608:196608 .. ${path}/etc`,
        `1000:1001 -> 197608:197609 .. ${path}/bin/sh`,
        `1:2 -> 196609:196610 .. ${path}/bin`,
        `6 files under ${path}/ shifted with 0x30000 using range 0x10000`,
        `65535:65536 -> 262143:196608 .. ${path}/etc/motd`,
        `7:8 -> 196615:196616 .. ${path}/link`,
      ].sort(),
    );
    expect(stdout.trimEnd().split("\n").at(-1)).toMatch(/^6 files under/);
    const shifted = ownersBelow(path);
    expect(Object.fromEntries(shifted)).toEqual({
      "": "196608:196608",
      bin: "196609:196610",
      "bin/sh": "197608:197609",
      etc: "196608:196608",
      "etc/motd": "262143:196608",
      link: "196615:196616",
    });
    expect(ownerOf("/etc/passwd")).toBe("0:0");
    expect(ownerOf(join(folder.path, "outside"))).toBe("0:0");

    const again = shiftOwn(["-v", ...toRange, path]);
    expect(again.stdout).toBe(
      `0 files under ${path} shifted with 0x30000 using range 0x10000, 6 files already there\n`,
    );
    expect(ownersBelow(path)).toEqual(shifted);
  });

  test("the classic command line moves a tree, and says so word for word", () => {
    using folder = new TestFolder({ "alpine-shifted/hostname": "alpine" });
    const path = join(folder.path, "alpine-shifted");
    const { code, stdout, stderr } = shiftOwn(["-s", "0x30000", `${path}/`, "-v"]);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout:
        `0:0 -> 196608:196608 .. ${path}/hostname\n` +
        `0:0 -> 196608:196608 .. ${path}\n` +
        `2 files under ${path}/ shifted with 0x30000 using range 0x10000\n`,
      stderr: "",
    });
  });

  test("a dry run says the same and changes nothing", () => {
    using folder = tree();
    const before = ownersBelow(folder.path);
    const { stdout } = shiftOwn(["-nv", ...toRange, folder.path]);
    expect(stdout).toContain(`1000:1001 -> 197608:197609 .. ${folder.path}/tree/bin/sh\n`);
    expect(stdout).toMatch(/\n8 files under .* would be shifted with 0x30000 using range 0x10000\n$/);
    expect(ownersBelow(folder.path)).toEqual(before);
  });

  test("ids from another range follow, and 0 leads back", () => {
    using folder = tree();
    const before = ownersBelow(folder.path);
    chownSync(join(folder.path, "tree/etc/motd"), 65535, 0);
    shiftOwn([...toRange, folder.path]);
    shiftOwn(["-s", "655360", "-r", "65536", folder.path]);
    expect(ownerOf(join(folder.path, "tree/bin/sh"))).toBe("656360:656361");
    shiftOwn(["-s", "0", "-r", "65536", folder.path]);
    expect(ownersBelow(folder.path)).toEqual(before.set("tree/etc/motd", "65535:0"));
  });

  test("a single file, a symbolic link itself, and a directory behind a link with a slash", () => {
    using folder = tree();
    const at = (name: string): string => join(folder.path, name);
    symlinkSync("tree/etc", at("way"));
    expect(shiftOwn([...toRange, at("tree/bin/sh")]).stdout).toMatch(/^1 file under /);
    expect(shiftOwn([...toRange, at("way")]).stdout).toMatch(/^1 file under /);
    expect([ownerOf(at("way")), ownerOf(at("tree/etc"))]).toEqual(["196608:196608", "0:0"]);
    expect(shiftOwn([...toRange, `${at("way")}/`]).stdout).toMatch(/^2 files under /);
    expect(ownerOf(at("tree/etc"))).toBe("196608:196608");
    expect(ownerOf(at("tree"))).toBe("0:0");
  });

  test.each(["/proc/self/fd/3", "/dev/fd/3"])("%s is the directory that was inherited", (path) => {
    using folder = tree();
    const fd = openSync(join(folder.path, "tree"), "r");
    try {
      const { stdout } = spawnSync(shiftOwnPath, [...toRange, path], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", 2, fd],
      });
      expect(stdout).toMatch(/^6 files under /);
    } finally {
      closeSync(fd);
    }
    expect(ownerOf(join(folder.path, "tree/bin"))).toBe("196609:196610");
    expect(ownerOf(folder.path)).toBe("0:0");
  });

  test("a file with several links is shifted and counted once", () => {
    using folder = new TestFolder({ busybox: "", "d/x": "" });
    const at = (name: string): string => join(folder.path, name);
    mkdirSync(at("bin"));
    for (const name of ["sh", "ls", "cp"]) linkSync(at("busybox"), at(`bin/${name}`));
    chownSync(at("busybox"), 5, 5);
    expect(shiftOwn(["-s", "100", "-r", "50", folder.path]).stdout).toMatch(/^5 files under /);
    expect(ownerOf(at("bin/sh"))).toBe("105:105");
  });

  test("setuid and setgid bits stay", () => {
    using folder = new TestFolder({ su: "", wall: "", both: "" });
    const modes = { su: 0o4755, wall: 0o2755, both: 0o6711 };
    for (const [name, mode] of Object.entries(modes)) chmodSync(join(folder.path, name), mode);
    mkdirSync(join(folder.path, "mail"));
    chmodSync(join(folder.path, "mail"), 0o3775);
    expect(shiftOwn([...toRange, folder.path]).code).toBe(0);
    expect(["su", "wall", "both", "mail"].map((name) => modeOf(join(folder.path, name)))).toEqual([
      "4755",
      "2755",
      "6711",
      "3775",
    ]);
    expect(ownerOf(join(folder.path, "su"))).toBe("196608:196608");
  });

  test("a name cannot write to the terminal, nor make up a line", () => {
    using folder = new TestFolder();
    writeFileSync(join(folder.path, "a\n0 files"), "");
    writeFileSync(join(folder.path, "\u001b[2J\\"), "");
    writeFileSync(Buffer.concat([Buffer.from(`${folder.path}/`), Buffer.from([0xff, 0xc3, 0xa4])]), "");
    const { stdout } = shiftOwn(["-v", ...toRange, folder.path]);
    expect(stdout).toContain(`.. ${folder.path}/a\\n0 files\n`);
    expect(stdout).toContain(`.. ${folder.path}/\\x1b[2J\\\\\n`);
    expect(stdout).toContain(`.. ${folder.path}/\\xffä\n`);
    expect(stdout.split("\n")).toHaveLength(6);
  });

  test("--json counts", () => {
    using folder = tree();
    shiftOwn([...toRange, join(folder.path, "tree/bin")]);
    expect(JSON.parse(shiftOwn(["--json", ...toRange, folder.path]).stdout)).toEqual({
      shift: 0x30000,
      range: 0x10000,
      shifted: 6,
      unchanged: 2,
      failed: 0,
      mounts: 0,
      dryRun: false,
      complete: true,
    });
  });
});
