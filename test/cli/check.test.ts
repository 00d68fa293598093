import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TestFolder } from "../support/broker.ts";
import { berth, berths } from "./support.ts";

describe("berth check", () => {
  test("says how many berths and sockets are fine", async () => {
    using folder = new TestFolder(berths);
    expect(await berth(["check", folder.path])).toEqual({
      code: 0,
      stdout: "3 berths with 5 sockets: fine\n",
      stderr: "",
    });
  });

  test("names every problem with its file, line and remedy, counts them, and exits 1", async () => {
    using folder = new TestFolder({
      "a.toml": '[sockets.game]\nlisten = ["upd://0.0.0.0:1"]\n',
      "b.toml": '[sockets.game]\nlisten = ["udp://0.0.0.0:70000"]\nbaklog = 3\n',
    });
    const { code, stdout } = await berth(["check", folder.path]);
    expect(code).toBe(1);
    const lines = stdout.trimEnd().split("\n");
    const [problems, remedies] = [
      lines.filter((line) => /^\//.test(line)),
      lines.filter((line) => /^ {2}\S/.test(line)),
    ];
    expect(problems.map((line) => /^(.*?:\d+): ./.exec(line)?.[1])).toEqual([
      join(folder.path, "a.toml:2"),
      join(folder.path, "b.toml:2"),
      join(folder.path, "b.toml:3"),
    ]);
    expect(remedies).toHaveLength(3);
    expect(lines.at(-1)).toBe("3 problems");
  });

  test("tells the berths with problems from the others, which a broker serves", async () => {
    using folder = new TestFolder({ ...berths, "oops.toml": "[sockets", "arena.tml": "" });
    const { code, stdout } = await berth(["check", folder.path]);
    expect(code).toBe(1);
    expect(stdout.split("\n").slice(-6)).toEqual([
      expect.stringMatching(/arena\.tml:1: warning: this file is not read/),
      expect.stringContaining("rename it"),
      "with problems: oops",
      "3 berths with 5 sockets: fine",
      "1 problem",
      "",
    ]);
    const { stdout: json } = await berth(["check", "--json", folder.path]);
    expect(JSON.parse(json)).toMatchObject({ berths: 3, withProblems: ["oops"], warnings: [{ line: 1 }] });
  });

  test("a warning alone is no problem", async () => {
    using folder = new TestFolder({ ...berths, "arena.tml": "" });
    expect(await berth(["check", folder.path])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("warning: "),
    });
  });

  test("--json gives the same to programs", async () => {
    using folder = new TestFolder({ "a.toml": '[sockets.game]\nlisten = ["tcp://nowhere:1"]\n' });
    const { code, stdout } = await berth(["check", "--json", folder.path]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      berths: 0,
      sockets: 0,
      problems: [
        { file: join(folder.path, "a.toml"), line: 2, message: expect.any(String), remedy: expect.any(String) },
      ],
    });
  });

  test("later directories win", async () => {
    using below = new TestFolder({ "a.toml": "[sockets.game]\nlisten = 3\n" });
    using above = new TestFolder({ "a.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:1"]\n' });
    expect((await berth(["check", below.path, above.path])).code).toBe(0);
    expect((await berth(["check", above.path, below.path])).code).toBe(1);
  });

  test("a directory that was named and is not there is a usage error, not an empty configuration", async () => {
    const { code, stdout, stderr } = await berth(["check", "/nonexistent/berths"]);
    expect({ code, stdout }).toEqual({ code: 100, stdout: "" });
    expect(stderr).toMatch(/^berth: .*\/nonexistent\/berths: ENOENT.*\n$/);
  });

  test("a file's name cannot write to the terminal", async () => {
    using folder = new TestFolder({ "a\u001b[2J\u202e.toml": "" });
    const { code, stdout } = await berth(["check", folder.path]);
    expect(code).toBe(1);
    expect(stdout).toContain("a\\x1b[2J\\u{202e}.toml:1:");
    for (const character of ["\u001b", "\u202e"]) expect(stdout).not.toContain(character);
  });
});
