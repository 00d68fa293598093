/** A reader that reads again: what is as before is the same object, and all is as a new reader reads it. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Accounts, PasswdEntry } from "../../src/accounts.ts";
import { DraftReader, type Drafts } from "../../src/config/drafts.ts";
import { readDrafts } from "../../src/config/load.ts";
import { toEnd } from "../../src/config/steps.ts";
import { accounts, bob, type Files, folder } from "./fixture.ts";

const on = (port: number, more = ""): string => `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n${more}`;

function put(root: string, files: Files): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name);
    rmSync(path, { force: true });
    mkdirSync(dirname(path), { recursive: true });
    if (typeof content === "string") writeFileSync(path, content);
    else symlinkSync(content.link, path);
  }
}

function readerOf(files: Files, known: Accounts = accounts): { root: string; again: () => Drafts } {
  const root = folder(files);
  const reader = new DraftReader({ directories: [join(root, "lib"), join(root, "etc")], accounts: known });
  return { root, again: () => toEnd(reader.read()) };
}

/** The names of the berths whose drafts are other objects. */
function changed(before: Drafts, now: Drafts): string[] {
  const had = new Map(before.berths.map(({ name, draft }) => [name, draft]));
  return now.berths.filter(({ name, draft }) => had.get(name) !== draft).map(({ name }) => name);
}

describe("a reading after another", () => {
  it("makes a new draft only of what has changed", () => {
    const { root, again } = readerOf({
      "etc/a.toml": on(1),
      "etc/b.toml": on(2),
      "etc/c@.toml": on(3),
      "etc/c@one.toml": { link: "c@.toml" },
      "etc/c@two.toml": on(4),
      "etc/d.toml": on(5),
    });
    const first = again();
    expect(changed(first, again())).toEqual([]);
    put(root, { "etc/b.toml": on(6) });
    const second = again();
    expect(changed(first, second)).toEqual(["b"]);
    put(root, { "etc/c@.toml": on(7) });
    const third = again();
    expect(changed(second, third)).toEqual(["c@one", "c@two"]);
    put(root, { "etc/d.toml.d/x.toml": '[server]\ncommand = ["x"]\n', "lib/a.toml": on(8) });
    const fourth = again();
    expect(changed(third, fourth)).toEqual(["d"]);
    rmSync(join(root, "etc/a.toml"));
    expect(changed(fourth, again())).toEqual(["a"]);
  });

  it("asks for each user once, and makes a new draft of each berth whose user has changed", () => {
    const users = new Map<string | number, PasswdEntry>([
      ["arena-bob", { ...bob }],
      ["games", { ...bob, name: "games" }],
    ]);
    const asked: (string | number)[] = [];
    const known: Accounts = {
      passwd: (user) => {
        asked.push(user);
        const entry = users.get(user);
        return entry && { ...entry };
      },
      group: () => undefined,
    };
    const { again } = readerOf(
      {
        "etc/a.toml": on(1, '[server]\nuser = "arena-bob"\n'),
        "etc/b.toml": on(2, '[server]\nuser = "arena-bob"\n[tenant]\nusers = ["games"]\n'),
        "etc/c.toml": on(3, '[server]\nuser = "games"\n'),
      },
      known,
    );
    const first = again();
    expect(asked.toSorted()).toEqual(["arena-bob", "games"]);
    expect(first.berths[0]?.draft.server.user).toBe(first.berths[1]?.draft.server.user);
    const second = again();
    expect(asked).toHaveLength(4);
    expect(changed(first, second)).toEqual([]);
    users.set("games", { ...bob, name: "games", uid: 61 });
    const third = again();
    expect(changed(second, third)).toEqual(["b", "c"]);
    users.delete("arena-bob");
    const fourth = again();
    expect(fourth.berths.map(({ problems }) => problems.length)).toEqual([1, 1, 0]);
    users.set("arena-bob", bob);
    expect(again().berths.map(({ problems }) => problems.length)).toEqual([0, 0, 0]);
  });

  it("reports again what is still wrong", () => {
    const { again } = readerOf({
      "etc/a.toml": "[sockets",
      "etc/b@.toml": "[sockets",
      "etc/b@one.toml": { link: "b@.toml" },
      "etc/c.toml": on(1, '[server]\nusr = "x"\n'),
      "etc/e.toml.d/x.toml": "",
      "etc/f.tml": "",
      "etc/g@one.toml": { link: "g@.toml" },
    });
    const first = again();
    expect(first.berths.map(({ problems }) => problems.length)).toEqual([1, 1, 1, 1]);
    expect([first.general.length, first.warnings.length]).toEqual([1, 1]);
    expect(again()).toEqual(first);
  });

  it("gives what a new reader gives, after any changes", () => {
    const texts = ["", on(1), on(2, '[server]\nuser = "arena-bob"\n'), "[sockets", '[server]\ncommand = ["%i"]\n'];
    const contents = [...texts, { link: "/dev/null" }, { link: "a@.toml" }, { link: "nowhere" }, undefined];
    const names = [
      "a@.toml",
      "a@one.toml",
      "a@two.toml",
      "b.toml",
      "a@.toml.d/x.toml",
      "a@one.toml.d/y.toml",
      "b@.toml",
    ];
    const change = fc.tuple(
      fc.constantFrom("lib", "etc"),
      fc.constantFrom(...names),
      fc.constantFrom(...contents),
      fc.boolean(),
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
        const root = folder({});
        const directories = [join(root, "lib"), join(root, "etc")];
        const reader = new DraftReader({ directories, accounts });
        for (const [directory, name, content, isRead] of changes) {
          const path = join(root, directory, name);
          if (content === undefined) rmSync(path, { force: true });
          else put(root, { [`${directory}/${name}`]: content });
          if (isRead) expect(toEnd(reader.read())).toEqual(readDrafts({ directories, accounts }));
        }
        expect(toEnd(reader.read())).toEqual(readDrafts({ directories, accounts }));
      }),
      { numRuns: 150 },
    );
  });
});
