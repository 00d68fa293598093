import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { draftsOf } from "../../src/config/drafts.ts";
import { loadConfig, readDrafts, settleConflicts } from "../../src/config/load.ts";
import { accounts, type Files, folder, socket } from "./fixture.ts";

/** The good berths, the others with their problems, and what concerns none. */
function outcome(files: Files) {
  const root = folder(files);
  const loaded = loadConfig({ directories: [join(root, "lib"), join(root, "etc")], accounts });
  const text = ({ file, line, message }: (typeof loaded.problems)[number]): string =>
    `${file.replace(`${root}/`, "")}:${line}: ${message.replaceAll(`${root}/`, "")}`;
  return {
    good: loaded.specs.map(({ name }) => name),
    troubled: Object.fromEntries(loaded.troubled.map(({ name, problems }) => [name, problems.map(text)])),
    general: loaded.general.map(text),
    warnings: loaded.warnings.map(text),
  };
}

const on = (port: number): string => `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n`;

describe("one bad berth", () => {
  it("has its problems with file and line, and the others are loaded", () => {
    expect(
      outcome({
        "etc/a.toml": on(1),
        "etc/typo.toml": `${on(2)}[server]\nusr = "bob"\n`,
        "etc/broken.toml": "[sockets",
        "etc/gone.toml": { link: "nowhere" },
        "etc/user.toml": `${on(3)}[server]\nuser = "nobody-here"\n`,
      }),
    ).toMatchObject({
      good: ["a"],
      troubled: {
        typo: [expect.stringMatching(/^etc\/typo\.toml:4: .*usr/)],
        broken: [expect.stringMatching(/^etc\/broken\.toml:1: this is not TOML/)],
        gone: [expect.stringMatching(/^etc\/gone\.toml:1: cannot read this file: .*ENOENT/)],
        user: [expect.stringMatching(/^etc\/user\.toml:4: .*there is no user "nobody-here"/)],
      },
      general: [],
    });
  });

  it("of a template or drop-in concerns the berths that it is for", () => {
    const { good, troubled } = outcome({
      "etc/a@.toml": "[sockets",
      "etc/a@one.toml": { link: "a@.toml" },
      "etc/a@two.toml": { link: "a@.toml" },
      "etc/b@.toml": socket,
      "etc/b@one.toml": on(1),
      "etc/b@two.toml": on(2),
      "etc/b@two.toml.d/x.toml": "oops = 1",
      "etc/c@.toml": socket,
      "etc/c@.toml.d/y.toml": { link: "nowhere" },
      "etc/c@one.toml": on(3),
    });
    expect(good).toEqual(["b@one"]);
    expect(Object.keys(troubled)).toEqual(["a@one", "a@two", "b@two", "c@one"]);
    expect(troubled["a@one"]).toEqual([expect.stringMatching(/^etc\/a@\.toml:1: this is not TOML/)]);
    expect(troubled["b@two"]).toEqual([expect.stringMatching(/^etc\/b@two\.toml\.d\/x\.toml:1: .*oops/)]);
    expect(troubled["c@one"]).toEqual([expect.stringMatching(/^etc\/c@\.toml\.d\/y\.toml:1: cannot read/)]);
  });

  it("that cannot be assigned is a problem of the configuration as such", () => {
    const { good, troubled, general } = outcome({
      "etc/a.toml": socket,
      "etc/bad name.toml": "",
      "etc/x.toml.d/y.toml": "",
    });
    expect({ good, troubled }).toEqual({ good: ["a"], troubled: {} });
    expect(general).toEqual([
      expect.stringMatching(/^etc\/bad name\.toml:1: /),
      expect.stringMatching(/^etc\/x\.toml\.d:1: these drop-ins belong to x\.toml/),
    ]);
  });
});

describe("a conflict", () => {
  const both = { "etc/a.toml": on(5), "etc/b.toml": on(5), "etc/c.toml": on(6) };

  it("leaves the address to the first by name", () => {
    expect(outcome(both)).toMatchObject({ good: ["a", "c"], troubled: { b: [expect.stringContaining("of a (")] } });
  });

  it("leaves the address to the berth that holds it", () => {
    const drafts = readDrafts({ directories: [join(folder(both), "etc")], accounts });
    const { specs, troubled } = settleConflicts(drafts, { address: (berth) => berth === "b", range: () => false });
    expect(specs.map(({ name }) => name)).toEqual(["b", "c"]);
    expect(troubled).toMatchObject([{ name: "a", problems: [{ message: expect.stringContaining("of b (") }] }]);
  });

  it("with a berth that has a mistake of its own leaves the address to the good one", () => {
    const { good, troubled } = outcome({ ...both, "etc/a.toml": `${on(5)}[oops]\n` });
    expect(good).toEqual(["b", "c"]);
    expect(troubled["a"]).toHaveLength(2);
  });

  it("of a berth that gives way takes nothing from a third", () => {
    const two = '[sockets.game]\nlisten = ["udp://127.0.0.1:5", "udp://127.0.0.1:6"]\n';
    const { good, troubled } = outcome({ ...both, "etc/b.toml": two });
    expect(good).toEqual(["a", "c"]);
    expect(troubled["b"]).toHaveLength(2);
  });

  it("of two berths about one range leaves it to the first, or to the one that has it", () => {
    const root = '[root]\nimage = "gold"\nrange = 0x20000000\n';
    const files = { "etc/a.toml": on(1) + root, "etc/b.toml": on(2) + root };
    expect(outcome(files)).toMatchObject({ good: ["a"], troubled: { b: [expect.stringContaining("same range")] } });
    const drafts = readDrafts({ directories: [join(folder(files), "etc")], accounts });
    const settled = settleConflicts(drafts, { address: () => false, range: (berth) => berth === "b" });
    expect(settled.specs.map(({ name }) => name)).toEqual(["b"]);
  });
});

describe("a file that is not read", () => {
  it("for a mistyped .toml is a warning", () => {
    const { good, warnings, general } = outcome({
      "etc/a.toml": socket,
      "etc/arena.tml": socket,
      "etc/b.TOML": socket,
      "etc/README.txt": "",
      "etc/c.toml~": "",
      "etc/d.toml.bak": "",
    });
    expect({ good, general }).toEqual({ good: ["a"], general: [] });
    expect(warnings).toEqual([
      "etc/arena.tml:1: this file is not read: its name does not end in .toml",
      "etc/b.TOML:1: this file is not read: its name does not end in .toml",
    ]);
    const { warnings: whole } = loadConfig({ directories: [folder({ "a.tml": "" })], accounts });
    expect(whole.map(({ remedy }) => remedy)).toEqual(["rename it, or move it"]);
  });
});

it("a berth without a file has nothing, and what no berth can be called is none", () => {
  const drafts = draftsOf(["web", "arena@bob", "arena@", "a b"], accounts);
  expect(drafts.map(({ name, origin, sockets, root }) => ({ name, origin, sockets, root }))).toEqual([
    { name: "web", origin: { file: "web", line: 1 }, sockets: [], root: undefined },
    { name: "arena@bob", origin: { file: "arena@bob", line: 1 }, sockets: [], root: undefined },
  ]);
});

it("tells which directories exist, so that a missing one is not taken for no berths", () => {
  const root = folder({});
  mkdirSync(join(root, "etc"));
  writeFileSync(join(root, "etc/a.toml"), socket);
  const directories = [join(root, "lib"), join(root, "etc")];
  expect(readDrafts({ directories, accounts }).directories).toEqual([join(root, "etc")]);
});
