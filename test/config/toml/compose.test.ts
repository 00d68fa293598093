import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { accounts, berth, folder, load, socket } from "../fixture.ts";

const on = (port: number): string => `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n`;
const names = (files: Parameters<typeof load>[0]): string[] => load(files).specs.map(({ name }) => name);
const command = (word: string): string => `[server]\ncommand = ["${word}"]\n`;

describe("files", () => {
  it("of a later directory replace those of the same name entirely", () => {
    const spec = berth({ "lib/a.toml": socket + command("below"), "etc/a.toml": socket });
    expect(spec.server.command).toEqual([]);
    expect(spec.origin.file).toMatch(/etc\/a\.toml$/);
  });

  it("that are empty or links to /dev/null mask a berth and its drop-ins", () => {
    const below = {
      "lib/a.toml": on(1),
      "lib/b.toml": on(2),
      "lib/c.toml": on(3),
      "lib/a.toml.d/x.toml": command("x"),
    };
    expect(load({ ...below, "etc/a.toml": "", "etc/b.toml": { link: "/dev/null" } })).toMatchObject({
      specs: [{ name: "c" }],
      problems: [],
    });
  });

  it("are in the order of their names, and drop-ins too, whatever the file system lists first", () => {
    const files = Object.fromEntries(["c", "a", "b", "B"].map((name, at) => [`etc/${name}.toml`, on(at + 1)]));
    expect(names(files)).toEqual(["B", "a", "b", "c"]);
  });

  it("that do not end in .toml, or are hidden, are passed over", () => {
    const names = { "etc/a.toml~": "x", "etc/README": "x", "etc/.#a.toml": { link: "nowhere" }, "etc/b.toml.d": "x" };
    expect(load(names)).toEqual({ specs: [], problems: [] });
    const dropIns = { "etc/c.toml": socket, "etc/c.toml.d/README": "x", "etc/c.toml.d/.x.toml": "x" };
    expect(load(dropIns)).toMatchObject({ specs: [{ name: "c" }], problems: [] });
  });

  it("that are drop-ins may have any name, and their folder may be a link to nothing", () => {
    expect(names({ "etc/a.toml": socket, "etc/a.toml.d": { link: "nowhere" } })).toEqual(["a"]);
    const linked = {
      "etc/a.toml": socket,
      "etc/more": command("linked"),
      "etc/a.toml.d/x y.toml": { link: "../more" },
    };
    expect(berth(linked).server.command).toEqual(["linked"]);
  });

  it("with odd names are problems", () => {
    const rule =
      "a name has 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit; an instance is TEMPLATE@INSTANCE";
    expect(load({ "etc/bad name.toml": socket, "etc/@.toml": socket }).problems).toEqual([
      `etc/@.toml:1: "@" cannot name a berth | rename it: ${rule}`,
      `etc/bad name.toml:1: "bad name" cannot name a berth | rename it: ${rule}`,
    ]);
  });

  it("that cannot be read are reported, each with its reason, and never block", () => {
    const root = folder({
      "dangling.toml": { link: "nowhere" },
      "loop.toml": { link: "loop.toml" },
      "zero.toml": { link: "/dev/zero" },
      "z.toml": "#".repeat(2 ** 20 + 1),
    });
    mkdirSync(join(root, "folder.toml"));
    writeFileSync(join(root, "latin.toml"), Uint8Array.of(0x23, 0xe4));
    execFileSync("mkfifo", [join(root, "pipe.toml")]);
    const { problems } = loadConfig({ directories: [join(root, "absent"), root, join(root, "z.toml")], accounts });
    const cannot = "cannot read this file: ";
    const other = "make it a text file that the broker may read";
    expect(
      problems.map(({ file, line, message, remedy }) => [file.slice(root.length + 1), line, message, remedy]),
    ).toEqual([
      [
        "dangling.toml",
        1,
        expect.stringMatching(`^${cannot}ENOENT`),
        "the link leads to a missing file: correct or remove the link",
      ],
      ["folder.toml", 1, `${cannot}it is not a regular file`, other],
      ["latin.toml", 1, expect.stringMatching(`^${cannot}.*utf-8`), other],
      [
        "loop.toml",
        1,
        expect.stringMatching(`^${cannot}ELOOP`),
        "the link leads to itself: correct or remove the link",
      ],
      ["pipe.toml", 1, `${cannot}it is not a regular file`, other],
      [
        "z.toml",
        1,
        expect.stringMatching("^cannot read this directory: ENOTDIR"),
        "let the broker's user read it (chmod, chown), or remove it",
      ],
      ["z.toml", 1, `${cannot}it is longer than 1048576 bytes`, other],
      ["zero.toml", 1, `${cannot}it is not a regular file`, other],
    ]);
  });

  it("of the greatest length are read", () => {
    expect(names({ "etc/a.toml": socket + "#".repeat(2 ** 20 - socket.length) })).toEqual(["a"]);
  });
});

describe("drop-ins", () => {
  it("of all directories are merged in the order of their file names", () => {
    const spec = berth({
      "lib/a.toml": socket + command("base"),
      "etc/a.toml.d/10.toml": command("ten"),
      "lib/a.toml.d/20.toml": command("twenty"),
    });
    expect(spec.server.command).toEqual(["twenty"]);
  });

  it("replace those of the same file name in an earlier directory, also by being empty", () => {
    const below = {
      "lib/a.toml": socket,
      "lib/a.toml.d/x.toml": command("lib"),
      "lib/a.toml.d/y.toml": command("masked"),
    };
    expect(
      berth({ ...below, "etc/a.toml.d/x.toml": command("etc"), "etc/a.toml.d/y.toml": "" }).server.command,
    ).toEqual(["etc"]);
    expect(berth({ ...below, "etc/a.toml.d/y.toml": { link: "/dev/null" } }).server.command).toEqual(["lib"]);
  });

  it("merge tables key by key and replace arrays, and their mistakes are reported in their own file", () => {
    const { specs, problems } = load({
      "etc/a.toml": `${socket}backlog = 5`,
      "etc/a.toml.d/x.toml": '\n[sockets.game]\nlisten = [\n  "tcp://127.0.0.1:1",\n  "tcp://127.0.0.1:x",\n]\n',
    });
    expect(specs).toEqual([]);
    expect(problems).toEqual([
      expect.stringMatching(
        /^etc\/a\.toml\.d\/x\.toml:5: sockets\.game\.listen: "tcp:\/\/127\.0\.0\.1:x" does not end in ADDRESS:PORT/,
      ),
    ]);
  });

  it("put a value in the place of a table, which is reported where it stands", () => {
    expect(load({ "etc/a.toml": socket, "etc/a.toml.d/x.toml": "\nsockets = 1" }).problems).toEqual([
      expect.stringMatching(/^etc\/a\.toml\.d\/x\.toml:2: sockets is 1, which is not a table/),
    ]);
  });

  it("for a berth that no file makes exist are a problem", () => {
    expect(load({ "etc/arena@bbo.toml.d/x.toml": socket }).problems).toEqual([
      "etc/arena@bbo.toml.d:1: these drop-ins belong to arena@bbo.toml, which does not exist | create arena@bbo.toml, or remove this directory",
    ]);
  });
});

describe("instances", () => {
  const template = { "lib/arena@.toml": `[sockets.game]\nlisten = ["unix:///run/%t/%i"]\n${command("%n")}` };

  it("exist as links to the template, across directories, or as empty files; the template alone is no berth", () => {
    expect(names(template)).toEqual([]);
    expect(
      names({
        ...template,
        "etc/arena@a.toml": { link: "arena@.toml" },
        "lib/arena@b.toml": { link: "arena@.toml" },
        "etc/arena@c.toml": "",
      }),
    ).toEqual(["arena@a", "arena@b", "arena@c"]);
    const long = "x".repeat(64);
    expect(names({ ...template, [`etc/arena@${long}.toml`]: { link: "arena@.toml" } })).toEqual([`arena@${long}`]);
  });

  it("expand %i, %n and %t", () => {
    const { sockets, server } = berth({ ...template, "etc/arena@bob.toml": "" });
    expect(sockets[0]?.listen[0]?.address).toMatchObject({ path: "/run/arena/bob" });
    expect(server.command).toEqual(["arena@bob"]);
  });

  it("need only what differs: it overrides the template's drop-ins, and their own override it", () => {
    const files = {
      ...template,
      "lib/arena@.toml.d/x.toml": `${command("template drop-in")}umask = "077"`,
      "etc/arena@bob.toml": command("own"),
    };
    expect(berth(files).server).toMatchObject({ command: ["own"], umask: 0o077 });
    expect(berth({ ...files, "etc/arena@bob.toml.d/x.toml": command("own drop-in") }).server.command).toEqual([
      "own drop-in",
    ]);
  });

  it("stand without a template if they say everything, and are a problem if they do not", () => {
    expect(names({ "etc/arena@bob.toml": socket })).toEqual(["arena@bob"]);
    expect(load({ "etc/arena@bob.toml": "" }).problems).toEqual([
      "etc/arena@bob.toml:1: arena@bob is an instance of a template that is missing or masked: arena@.toml | " +
        "create arena@.toml, or remove this file",
    ]);
    expect(load({ ...template, "etc/arena@.toml": "", "etc/arena@bob.toml": "" }).problems).toHaveLength(1);
    // Drop-ins of a template that is missing are none.
    expect(load({ "etc/arena@.toml.d/x.toml": socket, "etc/arena@bob.toml": "" }).problems).toContainEqual(
      expect.stringContaining("arena@bob is an instance of a template that is missing or masked"),
    );
  });

  it("have nothing of their template when their own file cannot be read", () => {
    for (const own of ["x =", { link: "nowhere" }]) {
      const root = folder({ "arena@.toml": socket, "arena@bob.toml": own });
      expect(loadConfig({ directories: [root], accounts }).troubled[0]?.draft.sockets).toEqual([]);
    }
  });

  it("are masked by a link to /dev/null", () => {
    expect(load({ ...template, "lib/arena@bob.toml": "", "etc/arena@bob.toml": { link: "/dev/null" } })).toEqual({
      specs: [],
      problems: [],
    });
  });

  it("report a mistake of their template once, at the template's line, and its syntax even without an instance", () => {
    const broken = {
      "etc/arena@.toml": `${socket}backlog = "many"\nv6only = 1\n`,
      "etc/arena@a.toml": "",
      "etc/arena@b.toml": "",
    };
    expect(load(broken).problems.filter((problem) => problem.includes("v6only is 1"))).toEqual([
      expect.stringMatching(/^etc\/arena@\.toml:4: /),
    ]);
    expect(load({ "etc/arena@.toml": "a = 1\nb =" }).problems).toEqual([
      expect.stringMatching(
        /^etc\/arena@\.toml:2: this is not TOML: invalid value \| correct it at column \d+; https:\/\/toml\.io\/en\/v1\.0\.0 has the rules$/,
      ),
    ]);
  });
});
