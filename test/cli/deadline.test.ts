/** A broker that is stopped answers nothing: no command waits for it for ever. */
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestFolder } from "../support/broker.ts";
import { berth } from "./support.ts";

describe("a broker that does not answer", () => {
  let folder: TestFolder;
  let silent: Server;
  let socket: string;

  beforeAll(async () => {
    folder = new TestFolder();
    socket = join(folder.path, "silent.sock");
    silent = createServer(() => undefined).listen(socket);
    await once(silent, "listening");
  });
  afterAll(() => {
    silent.close();
    folder[Symbol.dispose]();
  });

  test.each([
    "ls",
    "show arena",
    "watch",
    "reload",
    "image ls",
    "image use arena@1",
    "image rm arena@1",
    "range ls",
    "range forget arena",
  ])("ends berth %s with a sentence and 111", async (line) => {
    const words = line.split(" ");
    const { code, stdout, stderr } = await berth(["--socket", socket, ...words, "--timeout", "0.2"]);
    expect({ code, stdout }).toEqual({ code: 111, stdout: "" });
    expect(stderr).toMatch(/^berth: [^\n]*\n$/);
    expect(stderr).toContain(`the broker at ${socket} did not answer within 0.2 s; see its log (journalctl `);
    expect(stderr).toContain("or wait longer: --timeout 2");
    const isOnFolder = words[0] === "image" || words[0] === "range";
    expect(stderr.includes("or name the state folder: --state DIR")).toBe(isOnFolder);
  });

  test("ends berth run with a sentence and 111", async () => {
    const { code, stderr } = await berth(["run", "--socket", socket, "--timeout", "0.2", "arena"]);
    expect(code).toBe(111);
    expect(stderr).toBe(
      `berth-launch: the broker at ${socket} did not answer within 0.2 s; see its log (journalctl -u berthd), or wait longer: --timeout 1.2\n`,
    );
  });
});

test.each(["0", "-1", "", "soon", "86401"])("--timeout %j is wrong usage", async (text) => {
  expect(await berth(["ls", `--timeout=${text}`])).toMatchObject({
    code: 100,
    stderr: `berth: --timeout ${text} is not a number of seconds above 0 and at most 86400; write for example --timeout 5\n`,
  });
});
