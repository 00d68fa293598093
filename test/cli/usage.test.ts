import { describe, expect, test } from "vitest";
import { berth } from "./support.ts";

const commands = [
  "ls",
  "show",
  "watch",
  "reload",
  "start",
  "restart",
  "stop",
  "logs",
  "enable",
  "edit",
  "rm",
  "disable",
  "run",
  "check",
  "completion",
];
const nested = ["image import", "image ls", "image rm", "image use", "range ls", "range forget"];

describe("berth", () => {
  test.each([
    ["an unknown command", ["lss"], "Did you mean ls?"],
    ["an unknown option", ["ls", "--jsn"], "--jsn"],
    ["a missing argument", ["show"], "missing required argument"],
    ["one argument too many", ["show", "a", "b"], "too many arguments"],
    ["a value that is no choice", ["run", "--replace", "maybe", "a"], "maybe"],
    ["options that exclude each other", ["ls", "--json", "--names"], "--names"],
    ["an unknown shell", ["completion", "tcsh"], "tcsh"],
  ])("%s is one sentence and 100", async (_what, args, part) => {
    const { code, stdout, stderr } = await berth(args);
    expect({ code, stdout }).toEqual({ code: 100, stdout: "" });
    expect(stderr).toMatch(/^berth: [^\n]+; see berth --help\n$/);
    expect(stderr).toContain(part);
  });

  test("without a command it shows its help on standard error, and 100", async () => {
    const { code, stdout, stderr } = await berth([]);
    expect({ code, stdout }).toEqual({ code: 100, stdout: "" });
    for (const command of commands) expect(stderr).toMatch(new RegExp(`^  ${command} `, "m"));
  });

  test("a mistyped argument cannot write to the terminal", async () => {
    expect((await berth(["\u001b[2J"])).stderr).toMatch(/^berth: unknown command '\\x1b\[2J'/);
  });

  test.each([[], ...[...commands, ...nested].map((command) => command.split(" "))])(
    "%s --help has examples",
    async (...path) => {
      const { code, stdout } = await berth([...path, "--help"]);
      expect(code).toBe(0);
      expect(stdout).toMatch(new RegExp(`^Usage: ${["berth", ...path].join(" ")} `));
      expect(stdout).toMatch(/\nExamples:\n {2}\S/);
    },
  );

  test("--version is the package's", async () => {
    expect(await berth(["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\S*\n$/),
    });
  });
});
