/** `berth edit`, with scripts in place of an editor. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { editorCommand } from "../../src/cli/edit/editor.ts";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, berths, cli, type Ended, start } from "./support.ts";

const before = '[sockets.game]\nlisten = ["udp://127.0.0.1:9000"]\n';
const after = before.replace("9000", "9001");

describe("berth edit", () => {
  let folder: TestFolder;
  beforeEach(() => {
    folder = new TestFolder({ "arena.toml": before });
  });
  afterEach(() => folder[Symbol.dispose]());

  const path = (name = "arena.toml"): string => join(folder.path, name);
  const text = (name?: string): string => readFileSync(path(name), "utf8");
  /** An editor of the test's own; `$1` is the file. The copies are made in a folder of the test's own. */
  function environment(script: string): NodeJS.ProcessEnv {
    const editor = path(".editor");
    writeFileSync(editor, `#!/bin/sh\n${script}\n`);
    chmodSync(editor, 0o755);
    return { EDITOR: editor, TMPDIR: folder.path };
  }
  async function edit(script: string, ...words: string[]): Promise<Ended> {
    return await berth(
      ["edit", "--config", folder.path, ...(words.length > 0 ? words : ["arena"])],
      environment(script),
    );
  }
  const copies = (): string[] => readdirSync(folder.path).filter((name) => name.startsWith("berth-edit-"));
  /** The path of the copy that a message names. */
  function keptCopy(stderr: string): string {
    const [, copy = ""] = /^berth: what you wrote is kept: (\S+)$/m.exec(stderr) ?? [];
    expect(copy).toMatch(/\/berth-edit-\w+\/\S+\.toml$/);
    return copy;
  }

  test("saves what is sound, with the mode of the file, leaves nothing behind, and says what is next", async () => {
    chmodSync(path(), 0o600);
    const { code, stdout, stderr } = await edit('sed -i s/9000/9001/ "$1"; touch "$1~"');
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `saved   ${path()}\nnext:   berth reload\n`,
      stderr: "",
    });
    expect(text()).toBe(after);
    expect(statSync(path()).mode & 0o7777).toBe(0o600);
    expect(readdirSync(folder.path).sort()).toEqual([".editor", "arena.toml"]);
  });

  test("keeps the owner of the file (needs root)", needs("root"), async () => {
    chownSync(path(), 65534, 65533);
    expect((await edit('sed -i s/9000/9001/ "$1"')).code).toBe(0);
    expect(statSync(path())).toMatchObject({ uid: 65534, gid: 65533 });
  });

  test("the copy has the name of the file, and is the user's alone", async () => {
    const { stdout } = await edit('stat -c %a "$1" "$(dirname "$1")" >&2; basename "$1" >&2');
    expect(stdout).toBe(`unchanged: ${path()} is as it was\n`);
    const { stderr } = await edit('stat -c %a "$1" "$(dirname "$1")"; basename "$1"');
    expect(stderr).toBe("600\n700\narena.toml\n");
  });

  test("saves nothing that has a problem, names it in the file's own path, and keeps the copy", async () => {
    const { code, stdout, stderr } = await edit('echo "x = 1" > "$1"');
    expect({ code, stdout }).toEqual({ code: 1, stdout: "not saved\n" });
    expect(stderr).toContain(`${path()}:1: `);
    expect(readFileSync(keptCopy(stderr), "utf8")).toBe("x = 1\n");
    expect(text()).toBe(before);
  });

  test("saves nothing that takes another berth's address", async () => {
    writeFileSync(path("other.toml"), after);
    const { code, stderr } = await edit('sed -i s/9000/9001/ "$1"');
    expect(code).toBe(1);
    expect(stderr).toContain("9001");
    expect(text()).toBe(before);
  });

  test("is not kept from saving by a problem of another berth", async () => {
    writeFileSync(path("bad.toml"), "x = 1\n");
    expect((await edit('sed -i s/9000/9001/ "$1"')).code).toBe(0);
    expect(text()).toBe(after);
  });

  test("a template is checked with its instances, also when it is opened by the link of one", async () => {
    const template = '[sockets.game]\nlisten = ["udp://127.0.0.1:9100"]\n[server]\nuser = "%i"\n';
    writeFileSync(path("quake@.toml"), template);
    symlinkSync("quake@.toml", path("quake@root.toml"));
    const bad = await edit('sed -i s/%i/no-such-%i/ "$1"', "quake@root");
    expect(bad.code).toBe(1);
    expect(bad.stderr).toMatch(/quake@\.toml:4: .*no-such-root/);
    expect(text("quake@.toml")).toBe(template);
    expect((await edit('sed -i s/9100/9101/ "$1"', "quake@root")).stdout).toContain(`saved   ${path("quake@.toml")}\n`);
    expect(lstatSync(path("quake@root.toml")).isSymbolicLink()).toBe(true);
    expect(text("quake@.toml")).toContain("9101");
  });

  test("follows a link to a file elsewhere, and checks it as what the link is named", async () => {
    using elsewhere = new TestFolder({ "config of arena": before });
    const target = join(elsewhere.path, "config of arena");
    symlinkSync(target, path("linked.toml"));
    writeFileSync(path(), "");
    expect((await edit('echo x >> "$1"', "linked")).stderr).toContain(`${target}:3: `);
    expect((await edit('sed -i s/9000/9001/ "$1"', "linked")).code).toBe(0);
    expect(readFileSync(target, "utf8")).toBe(after);
    expect(lstatSync(path("linked.toml")).isSymbolicLink()).toBe(true);
  });

  test("notices that somebody else has changed the file meanwhile, and keeps both", async () => {
    const { code, stderr } = await edit(`sed -i s/9000/9001/ "$1"; echo "# theirs" >> ${path()}`);
    expect(code).toBe(1);
    const copy = keptCopy(stderr);
    expect(stderr).toContain(
      `berth: ${path()} has changed since you opened it; to compare: diff -u ${path()} ${copy}; `,
    );
    expect(text()).toBe(`${before}# theirs\n`);
    expect(readFileSync(copy, "utf8")).toBe(after);
    expect(readdirSync(folder.path).filter((name) => name.endsWith(".edit"))).toEqual([]);
  });

  test.each([
    ["exit 3", "the editor \\S+ ended with status 3"],
    ["kill -SEGV $$", "the editor \\S+ was ended by SIGSEGV"],
    ["kill -INT $$", "the editor \\S+ was ended by SIGINT"],
  ])("an editor that fails (%s) saves nothing, and what was written is kept", async (end, message) => {
    const { code, stderr } = await edit(`sed -i s/9000/9001/ "$1"; ${end}`);
    expect(code).toBe(111);
    expect(stderr).toMatch(new RegExp(`^berth: what you wrote is kept: \\S+\nberth: ${message}\n$`));
    expect(readFileSync(keptCopy(stderr), "utf8")).toBe(after);
    expect(text()).toBe(before);
  });

  test("an editor that fails before anything was written leaves no copy", async () => {
    const { code, stderr } = await edit("exit 1");
    expect({ code, stderr }).toEqual({
      code: 111,
      stderr: expect.stringMatching(/^berth: the editor \S+ ended with status 1\n$/),
    });
    expect(copies()).toEqual([]);
  });

  test("Ctrl-C is the editor's; SIGTERM ends both, and what was written is kept", async () => {
    execFileSync("mkfifo", [path(".editor.fifo")]);
    const child = start(
      ["edit", "--config", folder.path, "arena"],
      environment('trap "" INT; sed -i s/9000/9001/ "$1"; echo ready >&2; read _ < "$0.fifo"'),
    );
    let said = "";
    child.stderr.on("data", (piece) => {
      said += piece;
    });
    await expect.poll(() => said).toContain("ready");
    child.kill("SIGINT");
    child.kill("SIGTERM");
    expect(await once(child, "close")).toEqual([111, null]);
    expect(said).toContain("berth: interrupted by SIGTERM\n");
    expect(readFileSync(keptCopy(said), "utf8")).toBe(after);
    expect(text()).toBe(before);
  });

  test.each([
    ["edit\ndiscard\n", "discarded: ", before, 2],
    ["what\nedit\nedit\n", "saved ", after, 3],
  ])("asks a terminal whether to edit again: %j", needs("script"), async (typed, said, expected, rounds) => {
    // The third time it is right.
    const script = `echo x >> ${path(".rounds")}\n[ "$(wc -l < ${path(".rounds")})" = 3 ] && printf '%s' '${after}' > "$1" || echo "x = 1" > "$1"`;
    const command = [process.execPath, cli, "edit", "--config", folder.path, "arena"].join(" ");
    const child = spawn("script", ["-qec", command, "/dev/null"], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...environment(script), VISUAL: "" },
    });
    const answers = typed.split("\n").slice(0, -1);
    let [shown, seen] = ["", 0];
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      shown += part;
      const asked = shown.split("[edit/discard]").length - 1;
      for (; seen < asked; seen++) child.stdin.write(`${answers[seen]}\n`);
    });
    expect(await once(child, "close")).toEqual([0, null]);
    expect(shown).toContain(said);
    expect(text()).toBe(expected);
    expect(readFileSync(path(".rounds"), "utf8")).toBe("x\n".repeat(rounds));
    expect(copies()).toEqual([]);
  });

  test("--json tells the same, and asks nobody", async () => {
    const saved = await edit('sed -i s/9000/9001/ "$1"; echo noise', "--json", "arena");
    expect(JSON.parse(saved.stdout)).toEqual({
      file: path(),
      result: "saved",
      problems: [],
      copy: null,
      reloaded: null,
    });
    const refused = await edit('echo "x = 1" > "$1"', "--json", "arena");
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({
      file: path(),
      result: "refused",
      problems: expect.arrayContaining([expect.objectContaining({ file: path(), line: 1 })]),
      copy: keptCopy(refused.stderr),
    });
  });

  test.each([
    ["no berth", "nope", 1, /^berth: there is no \S+\/nope\.toml; to write it: berth new nope\n$/],
    ["a path", "../arena", 100, /^berth: "\.\.\/arena" is not the name of a berth/],
    [
      "a berth that is masked",
      "masked",
      1,
      /leads to \/dev\/null, which is no regular file; to have the berth again: rm \S+\/masked\.toml\n$/,
    ],
    ["a folder", "tree", 1, /tree\.toml is no regular file; remove it: berth rm tree\n$/],
  ])("refuses %s", async (_, name, status, sentence) => {
    symlinkSync("/dev/null", path("masked.toml"));
    folder.write({ "tree.toml/x": "" });
    const { code, stderr } = await edit("exit 9", name);
    expect({ code, stderr }).toEqual({ code: status, stderr: expect.stringMatching(sentence) });
  });

  test("a berth of a package is copied first, by the command that the message names", async () => {
    using own = new TestFolder();
    const words = ["edit", "--config", folder.path, "--config", own.path, "arena"];
    const { code, stderr } = await berth(words, environment("exit 9"));
    expect(code).toBe(1);
    const [from, to] = [path(), join(own.path, "arena.toml")];
    expect(stderr).toContain(`to have your own version of ${from}: cp ${from} ${to} && berth edit arena\n`);
    expect(existsSync(to)).toBe(false);
  });

  test("an editor that there is not is a sentence", async () => {
    const env = { EDITOR: "/nonexistent/editor", TMPDIR: folder.path };
    const { code, stderr } = await berth(["edit", "--config", folder.path, "arena"], env);
    expect(code).toBe(111);
    expect(stderr).toMatch(/berth: the editor \/nonexistent\/editor could not be run; name another: EDITOR=/);
    expect(copies()).toEqual([]);
  });

  test("the editor is $VISUAL before $EDITOR, with its options, and else one in PATH", () => {
    expect(editorCommand({ VISUAL: "emacs -nw", EDITOR: "vi" })).toBe("emacs -nw");
    expect(editorCommand({ VISUAL: " ", EDITOR: "vi" })).toBe("vi");
    folder.write({ nano: "", vi: "" });
    for (const name of ["nano", "vi"]) chmodSync(path(name), 0o755);
    expect(editorCommand({ PATH: folder.path })).toBe("nano");
    expect(() => editorCommand({ PATH: "/nonexistent" })).toThrow(/no editor in PATH; name one: EDITOR=/);
  });
});

test("--reload puts what was saved into force, or says why not", async () => {
  await using broker = await spawnBroker(berths);
  const config = join(broker.folder.path, "config");
  const env = { BERTHD_SOCKET: broker.socket, EDITOR: "sed -i s/web/site/" };
  const { code, stdout } = await berth(["edit", "--reload", "--config", config, "lobby"], env);
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: `saved   ${join(config, "lobby.toml")}\nreloaded: 3 berths\n`,
  });
  expect((await berth(["show", "lobby"], env)).stdout).toContain("site");
  broker.folder.write({ "config/new-and-bad.toml": "x = 1" });
  const late = await berth(["edit", "--reload", "--config", config, "lobby"], { ...env, EDITOR: "sed -i s/site/web/" });
  expect(late).toMatchObject({ code: 1, stderr: expect.stringContaining("nothing changed") });
  expect(readFileSync(join(config, "lobby.toml"), "utf8")).toContain("web");
  expect(late.stderr).not.toContain("is kept");
});
