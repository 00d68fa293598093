/** The examples of the documentation are compiled strictly, and run against a broker as they stand. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { blocks, pages, read, section, tableRows } from "./markdown.ts";

const examples = pages.flatMap((page) =>
  blocks(read(page), "ts").map((code, index) => ({
    title: `${page}, example ${index + 1}`,
    file: `${page.replace(/\W/g, "-")}-${index + 1}`,
    code,
    prints: Array.from(code.matchAll(/^\/\/ prints: (.*)$/gm), ([, line = ""]) => line),
  })),
);

let folder: TestFolder;
let broker: BrokerProcess;

beforeAll(async () => {
  folder = new TestFolder(Object.fromEntries(examples.map(({ file, code }) => [`${file}.mts`, code])));
  mkdirSync(join(folder.path, "node_modules"));
  symlinkSync(packageRoot, join(folder.path, "node_modules/berthd"));
  broker = await spawnBroker({
    "arena@bob.toml":
      '[sockets.chat]\nlisten = ["tcp://127.0.0.1:0"]\n[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n',
    "arena@.toml": "",
  });
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

test("the page has every option and member of a Broker, and no other", () => {
  const chapter = section(read("docs/library.md"), "## Broker");
  const documented = (heading: string): string[] =>
    tableRows(chapter.slice(chapter.indexOf(heading))).flatMap(([cell = ""]) =>
      Array.from(cell.matchAll(/\b[a-z]\w+/gi), ([name]) => name).filter(
        (name) => !["or", "Broker", "options"].includes(name),
      ),
    );
  const options = read("src/broker/broker-options.ts").matchAll(/(@internal \*\/)?\n {2}readonly (\w+)\??:/g);
  const wanted = Array.from(options, ([, internal, name = ""]) => (internal === undefined ? [name] : [])).flat();
  expect(documented("| option |").sort()).toEqual(wanted.sort());
  const members = read("src/broker/broker.ts").matchAll(/^ {2}(?:static async|async|get)? ?([a-z]\w*)\([^)]*\): /gm);
  expect(documented("| member |").sort()).toEqual(Array.from(members, ([, name = ""]) => name).sort());
});

test("every example says what it prints", () => {
  expect(examples.length).toBeGreaterThan(5);
  for (const { title, prints } of examples) expect(prints.length, title).toBeGreaterThan(0);
});

test("every example compiles, as strictly as the package itself", () => {
  const options = [
    "--strict --exactOptionalPropertyTypes --noPropertyAccessFromIndexSignature --noUnusedLocals",
    "--target es2022 --lib es2023,esnext.disposable --module nodenext --types node",
    `--typeRoots ${join(packageRoot, "node_modules/@types")}`,
    "--ignoreConfig", // the package's own, where TMPDIR is inside of it
  ].flatMap((line) => line.split(" "));
  const files = examples.map(({ file }) => `${file}.mts`);
  const tsc = join(packageRoot, "node_modules/typescript/bin/tsc");
  const { stdout, status } = spawnSync(process.execPath, [tsc, ...options, ...files], {
    cwd: folder.path,
    encoding: "utf8",
  });
  expect(stdout).toBe("");
  expect(status).toBe(0);
});

test.each(examples)("$title prints what it says it prints, and ends well", async ({ file, code, prints }) => {
  const child = spawn(process.execPath, [join(folder.path, `${file}.mjs`)], {
    env: { ...process.env, BERTHD_SOCKET: broker.socket },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const printed: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    printed.push(line);
    // Some serve until they are told to stop; the others end by themselves.
    if (printed.length === prints.length && code.includes("SIGTERM")) child.kill("SIGTERM");
  }
  expect(printed).toEqual(prints);
  expect(await exited).toEqual([0, null]);
});
