import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { nextSteps, type Surroundings, stopSettingsOf } from "../../src/cli/new/next-steps.ts";
import { readRecipe, recipeNames } from "../../src/cli/new/recipes.ts";
import { askTcp } from "../bind/harness.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { isRoot, needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { berth, cli, type Ended } from "./support.ts";

/** As root a server's user must be named. */
const asUser = isRoot ? ["--user", "nobody"] : [];

async function create(folder: TestFolder, ...args: string[]): Promise<Ended> {
  return await berth(["new", "--config", folder.path, ...args], { BERTHD_SOCKET: "/nonexistent/broker" });
}

describe("berth new", () => {
  test.each(recipeNames())(
    "from the recipe %s writes a file that berth check accepts, on other ports",
    async (recipe) => {
      using folder = new TestFolder();
      const said = await create(
        folder,
        "arena",
        "--from",
        recipe,
        "--port",
        "9100",
        "--directory",
        "/opt/it",
        ...asUser,
      );
      expect(said).toMatchObject({ code: 0, stderr: "" });
      expect((await berth(["check", folder.path])).stdout).toMatch(/^1 berth with \d+ sockets?: fine\n$/);
      const text = readFileSync(join(folder.path, "arena.toml"), "utf8");
      expect(text).toContain('directory = "/opt/it"\n');
      expect(text).not.toContain("/srv/");
      const listen = Array.from(text.matchAll(/^listen = .*/gm), ([line]) => line);
      expect(listen[0]).toContain(":9100");
      // The head of the file speaks of the ports that the berth has.
      const inHead = /^# Ports: .*/m.exec(text)?.[0].match(/\d{4,}/g);
      expect(new Set(inHead)).toEqual(new Set(listen.join().match(/(?<=:)\d{4,}/g)));
    },
  );

  test("--port SOCKET=PORT moves the ports of one socket", async () => {
    using folder = new TestFolder();
    await create(folder, "viking", "--from", "valheim", "--port", "3000", "--port", "query=4000", ...asUser);
    const text = readFileSync(join(folder.path, "viking.toml"), "utf8");
    expect(text.match(/^listen = .*/gm)).toEqual([
      'listen = ["udp://0.0.0.0:3000"]',
      'listen = ["udp://0.0.0.0:4000"]',
    ]);
  });

  test("--explain runs the server, and the file has the addresses that it binds", async () => {
    using folder = new TestFolder();
    const port = await freePort();
    const server = `require("node:dgram").createSocket("udp4").bind(${port}, "127.0.0.1", () => process.exit())`;
    const args = ["--explain", "--for", "60", ...asUser, "--", process.execPath, "--eval", server];
    const { code, stdout } = await create(folder, "arena", ...args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^wrote {3}\S+arena\.toml\nnext:/);
    const text = readFileSync(join(folder.path, "arena.toml"), "utf8");
    expect(text).toContain(`listen = ["udp://127.0.0.1:${port}"]`);
    expect(text).toContain('deliver = ["bind"]');
    expect((await berth(["check", folder.path])).stdout).toBe("1 berth with 1 socket: fine\n");
  });

  test("--explain writes nothing for a server that binds nothing", async () => {
    using folder = new TestFolder();
    const { code, stdout, stderr } = await create(folder, "arena", "--explain", ...asUser, "--", "true");
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/the server bound nothing that a berth could hold/);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test.each([
    [["--explain"], /the server is missing; write berth new NAME --explain -- COMMAND/],
    [["--from", "bzflag", "--for", "3"], /--for needs --explain/],
    [["--explain", "--port", "7", "--", "true"], /--port changes a recipe/],
    [["--explain", "--from", "bzflag", "--", "true"], /cannot be used with/],
    [["--explain", "--for", "x", "--", "true"], /--for x is not a number of seconds/],
  ])("refuses %j", async (args, sentence) => {
    using folder = new TestFolder();
    const { code, stderr } = await create(folder, "arena", ...asUser, ...args);
    expect(stderr).toMatch(sentence);
    expect(code).toBe(100);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("without a recipe the file has the addresses, the command as it is, and the folder", async () => {
    using folder = new TestFolder();
    const listen = ["--listen", "udp://*:27960", "--listen", "tcp://*:27960"];
    const command = ["--", "/srv/my arena/server", "--port", "{port:game}", '100%" \\'];
    const said = await create(folder, "arena", ...listen, "--directory", "/srv/arena", ...asUser, ...command);
    expect(said).toMatchObject({ code: 0, stderr: "" });
    expect(readFileSync(join(folder.path, "arena.toml"), "utf8").split("\n")).toEqual([
      "# arena.toml: made by berth new.",
      "",
      "[sockets.game]",
      'listen = ["udp://*:27960", "tcp://*:27960"]',
      "",
      "[server]",
      'command = ["/srv/my arena/server", "--port", "{port:game}", "100%%\\" \\\\"]',
      ...(isRoot ? ['user = "nobody"'] : []),
      'directory = "/srv/arena"',
      'deliver = ["bind"]',
      "",
    ]);
    expect((await berth(["check", folder.path])).code).toBe(0);
  });

  test("never replaces a file without --force", async () => {
    using folder = new TestFolder({ "tanks.toml": "# mine\n" });
    const path = join(folder.path, "tanks.toml");
    const said = await create(folder, "tanks", "--from", "bzflag", ...asUser);
    expect(said).toEqual({
      code: 1,
      stdout: "",
      stderr: `berth: ${path} is there already; edit that file, or add --force to replace it\n`,
    });
    expect(readFileSync(path, "utf8")).toBe("# mine\n");
    expect((await create(folder, "tanks", "--from", "bzflag", "--force", ...asUser)).code).toBe(0);
    expect(readFileSync(path, "utf8")).toContain("/usr/games/bzfs");
    expect(readdirSync(folder.path)).toEqual(["tanks.toml"]);
  });

  test("a file with a problem is not written: the problem is told with the path that it would have had", async () => {
    using folder = new TestFolder();
    await create(folder, "one", "--from", "bzflag", ...asUser);
    const said = await create(folder, "two", "--from", "bzflag", "--user", "no-such-user");
    const path = join(folder.path, "two.toml");
    expect(said).toMatchObject({ code: 1, stderr: "" });
    expect(said.stdout).toMatch(
      new RegExp(`^${path}:\\d+: tcp://0.0.0.0:5154 of two .* conflicts with .* of one`, "m"),
    );
    expect(said.stdout).toMatch(
      /: there is no user "no-such-user" on this system\n {2}.*useradd --system no-such-user/,
    );
    expect(said.stdout).toMatch(/\nnot written\n$/);
    expect(existsSync(path)).toBe(false);
    const asJson = await create(folder, "two", "--from", "bzflag", "--json", ...asUser);
    expect(asJson.code).toBe(1);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ file: null, problems: [{ file: path }, { file: path }] });
  });

  test("a conflict is refused also where the other berth would have it, by its name", async () => {
    using folder = new TestFolder();
    await create(folder, "zebra", "--from", "bzflag", ...asUser);
    expect((await create(folder, "ant", "--from", "bzflag", ...asUser)).code).toBe(1);
    expect(readdirSync(folder.path)).toEqual(["zebra.toml"]);
  });

  test("what others have wrong does not keep a new one from being written", async () => {
    using folder = new TestFolder({ "broken.toml": "[sockets" });
    expect((await create(folder, "tanks", "--from", "bzflag", ...asUser)).code).toBe(0);
  });

  test("--dry-run prints the file and writes nothing", async () => {
    using folder = new TestFolder();
    const said = await create(folder, "tanks", "--from", "bzflag", "--dry-run", ...asUser);
    expect(said.stdout).toMatch(/^# tanks\.toml: made by berth new from the recipe bzflag\.\n/);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("--json says what was written and what comes next", async () => {
    using folder = new TestFolder();
    const said = await create(folder, "tanks", "--from", "bzflag", "--json", ...asUser);
    expect(JSON.parse(said.stdout)).toEqual({
      name: "tanks",
      file: join(folder.path, "tanks.toml"),
      recipe: "bzflag",
      next: expect.arrayContaining([expect.stringContaining("tanks")]),
    });
  });

  test.each([
    [["a b", "--from", "bzflag"], /"a b" cannot name a berth/],
    [["tanks"], /name a recipe: --from RECIPE \(bzflag, .*valheim\); or where the server listens: --listen/],
    [["tanks", "--from", "doom"], /Allowed choices are bzflag/],
    [["tanks", "--from", "bzflag", "--port", "0"], /--port 0 is not a port from 1 to 65535/],
    [["tanks", "--from", "bzflag", "--port", "voice=1"], /the recipe has no socket voice; it has game/],
    [["viking", "--from", "valheim", "--port", "65535"], /port 65536 is not between 1 and 65535/],
    [["tanks", "--from", "bzflag", "--directory", "srv"], /--directory srv must be an absolute path/],
    [["tanks", "--from", "bzflag", "--directory", '/a"b'], /must be an absolute path without "/],
    [["tanks", "--from", "bzflag", "--", "/bin/true"], /a recipe has its own command/],
    [["tanks", "--listen", "udp://*:1", "--port", "2"], /--port changes a recipe/],
  ])("%j is a usage error that says what to write", async (args, message) => {
    using folder = new TestFolder();
    const user = args.includes("tanks") && args.length === 1 ? [] : asUser;
    const [name = "", ...rest] = args;
    const { code, stderr } = await create(folder, name, ...user, ...rest);
    expect({ code, stderr }).toEqual({ code: 100, stderr: expect.stringMatching(message) });
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("as root the server's user must be named", needs("root"), async () => {
    using folder = new TestFolder();
    expect(await create(folder, "tanks", "--from", "bzflag")).toEqual({
      code: 100,
      stdout: "",
      stderr: "berth: say whose server it is: --user USER (--user root if you mean it)\n",
    });
  });

  test("a folder that cannot be written is told with a way out", async () => {
    using folder = new TestFolder({ file: "" });
    const said = await berth(["new", "--config", join(folder.path, "file"), "a", "--from", "bzflag", ...asUser]);
    expect(said.code).toBe(111);
    expect(said.stderr).toMatch(/^berth: cannot write .*\/file\/a\.toml: EEXIST\n$/);
  });
});

/** Runs `berth new` on a terminal, types the lines, and returns what the terminal showed. */
async function onTerminal(folder: TestFolder, args: readonly string[], typed: string): Promise<string> {
  const command = [process.execPath, cli, "new", "--config", folder.path, ...args].join(" ");
  const child = spawn("script", ["-qec", command, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    shown += part;
    // The first question is there: what is typed before it would be shown twice.
    if (typed !== "" && shown.includes(": ")) {
      child.stdin.write(typed);
      typed = "";
    }
  });
  await once(child, "close");
  return shown;
}

describe("on a terminal berth new", needs("script"), () => {
  test("asks for what is missing, and again where the answer is of no use", async () => {
    using folder = new TestFolder();
    const shown = await onTerminal(
      folder,
      ["tanks"],
      isRoot ? "doom\nbzflag\nno-such-user\nnobody\n" : "doom\nbzflag\n",
    );
    expect(shown).toContain("Recipes: bzflag counter-strike-2 ");
    expect(shown).toContain("That is neither a recipe nor an address.");
    if (isRoot) expect(shown).toContain("There is no user no-such-user.");
    const text = readFileSync(join(folder.path, "tanks.toml"), "utf8");
    expect(text).toContain("/usr/games/bzfs");
    expect(text.includes('user = "nobody"')).toBe(isRoot);
  });

  test("writes nothing when the input ends", async () => {
    using folder = new TestFolder();
    expect(await onTerminal(folder, ["tanks"], "\u0004")).toContain("the input ended before the last answer");
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

describe("what comes next", () => {
  const bare: Surroundings = {
    name: "tanks",
    isTemplate: false,
    isRoot: true,
    config: [],
    user: "games",
    missingFolder: undefined,
    brokerAnswers: false,
    hasSystemd: false,
    hasUnits: false,
    hasCommand: true,
    stopSettings: [],
  };
  const enable = "systemctl enable --now berthd.socket";

  test.each([
    ["without systemd a broker", {}, ["berthd &", "berth run tanks"]],
    ["a broker that reads the folder", { config: ["/a b"] }, ["berthd --config '/a b' &", "berth run tanks"]],
    ["a running broker's reload", { brokerAnswers: true }, ["berth reload", "berth run tanks"]],
    ["systemd's units", { hasSystemd: true, hasUnits: true }, [enable, "berth start tanks"]],
    [
      "the units first, where there are none",
      { hasSystemd: true },
      [`berth units install && systemctl daemon-reload && ${enable}`, "berth start tanks"],
    ],
    [
      "the folder, for the server's user",
      { missingFolder: "/srv/it's", brokerAnswers: true },
      ["install -d -o games '/srv/it'\\''s'", "berth reload", "berth run tanks"],
    ],
    [
      "a command, where there is none",
      { hasCommand: false, brokerAnswers: true },
      ["berth reload", "berth run tanks -- /path/of/the/server"],
    ],
    [
      "a drop-in, where systemd would stop the server otherwise than the recipe says",
      { brokerAnswers: true, hasSystemd: true, stopSettings: ["KillSignal=SIGINT", "TimeoutStopSec=2min"] },
      [
        "berth reload",
        "mkdir -p /etc/systemd/system/berth@tanks.service.d && printf '%s\\n' '[Service]' KillSignal=SIGINT TimeoutStopSec=2min >/etc/systemd/system/berth@tanks.service.d/stop.conf && systemctl daemon-reload",
        "berth start tanks",
      ],
    ],
    [
      "no drop-in without systemd",
      { brokerAnswers: true, stopSettings: ["KillSignal=SIGINT"] },
      ["berth reload", "berth run tanks"],
    ],
    ["another user's own broker", { isRoot: false, hasSystemd: true }, ["berthd &", "berth run tanks"]],
    [
      "an instance of a template",
      { name: "tanks@", isTemplate: true, config: ["/etc/berthd"] },
      ["ln -s tanks@.toml /etc/berthd/tanks@one.toml"],
    ],
  ] as const)("is %s", (_what, changed, expected) => {
    expect(nextSteps({ ...bare, ...changed })).toEqual(expected);
  });

  test.each([
    ["valheim", ["KillSignal=SIGINT", "TimeoutStopSec=2min"]],
    ["luanti", ["TimeoutStopSec=2min"]],
    ["bzflag", []],
  ] as const)("has the unit's settings for the stop of recipe %s", (name, settings) => {
    expect(stopSettingsOf(readRecipe(name))).toEqual(settings);
  });

  test(
    "works when pasted: the folder is made, the broker reloads, the server runs and answers",
    needs("root", "bzfs"),
    async () => {
      using place = new TestFolder();
      await using broker = await spawnBroker({});
      const port = await freePort();
      const config = join(broker.folder.path, "config");
      const home = join(place.path, "home");
      const env = { BERTHD_SOCKET: broker.socket };
      const args = ["tanks", "--from", "bzflag", "--user", "games", "--port", String(port), "--directory", home];
      const said = await berth(["new", "--json", "--config", config, ...args], env);
      const { next } = JSON.parse(said.stdout) as { next: string[] };
      expect(next.slice(0, 2)).toEqual([`install -d -o games ${home}`, "berth reload"]);
      const bin = new TestFolder();
      writeFileSync(join(bin.path, "berth"), `#!/bin/sh\nexec ${process.execPath} ${cli} "$@"\n`, { mode: 0o755 });
      const paste = (line: string) =>
        spawn("sh", ["-c", `exec ${line}`], {
          env: { ...env, PATH: `${bin.path}:${process.env["PATH"]}` },
          stdio: ["ignore", "inherit", "inherit"],
        });
      for (const line of next.slice(0, 2)) expect(await once(paste(line), "close")).toEqual([0, null]);
      const server = paste("berth run tanks");
      expect(await askTcp(port, "BZFLAG\r\n\r\n", (answer) => answer.length >= 9)).toMatch(/^BZFS0/);
      server.kill("SIGKILL");
      await once(server, "close");
      bin[Symbol.dispose]();
    },
  );
});
