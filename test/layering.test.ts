/** Who may import whom, from the bottom up: layers of src/, rooms of broker/ and rootfs/. Type-only imports count. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../src/native.ts";
import { floors } from "./support/floors.ts";
import {
  circles,
  imports,
  layerOf,
  localImports,
  roomOf,
  type Sources,
  upward,
  wideComments,
} from "./support/layers.ts";

const source = join(packageRoot, "src");
const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const texts: Sources = new Map(files.map((file) => [file, readFileSync(join(source, file), "utf8")]));
const textOf = (file: string): string => texts.get(file) ?? "";

const all = [...new Set(files.map(layerOf))];

const mayImport: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  "berth-state": ["printable", "varlink"],
  placeholder: [],
  "file-constants": [],
  accounts: ["errors"],
  "native-bpf": [],
  "native-doorman": [],
  "native-interceptor": [],
  "native-poll": [],
  native: ["errors", "accounts", "native-bpf", "native-doorman", "native-interceptor", "native-poll"],
  "launcher-path": ["errors", "native"],
  fd: ["native", "errors"],
  net: ["native", "fd", "errors"],
  wire: ["native", "fd", "errors", "net"],
  "fd-channel": ["native", "fd", "wire", "errors", "net", "wait-options"],
  config: ["errors", "net", "placeholder", "accounts", "printable"],
  launch: ["errors", "accounts"],
  oci: [],
  log: ["printable"],
  printable: [],
  "make-folders": [],
  "time-left": [],
  "wait-options": [],
  rootfs: ["fd", "native", "errors", "launcher-path", "net", "accounts", "file-constants", "make-folders"],
  varlink: ["fd", "wire", "errors", "net", "native"],
  doorman: ["fd", "native", "errors", "net", "time-left"],
  systemd: ["fd", "launch", "native", "errors", "net"],
  client: [
    ...["varlink", "fd", "native", "errors", "net", "placeholder", "wait-options", "file-constants"],
    ...["config", "accounts"], // without a broker, for development
  ],
  broker: all.filter((layer) => !["client", "cli", "index", "fd-channel"].includes(layer)),
  cli: all.filter((layer) => layer !== "index"),
  index: all.filter((layer) => layer !== "cli"),
};

it("every file belongs to a layer and a room that is known here", () => {
  expect(all.filter((layer) => mayImport[layer] === undefined)).toEqual([]);
  for (const [folder, rooms] of Object.entries(floors)) {
    const known = rooms.flat();
    const names = new Set(files.flatMap((file) => roomOf(file, folder) ?? []));
    expect([...names].sort()).toEqual([...known].sort());
  }
});

it("no file imports from a layer it may not", () => {
  const wrong = files.flatMap((file) =>
    localImports(texts, file)
      .filter((target) => layerOf(target) !== layerOf(file) && !mayImport[layerOf(file)]?.includes(layerOf(target)))
      .map((target) => `${file} -> ${target}`),
  );
  expect(wrong).toEqual([]);
});

it("the parts of net/ that make no system call import none that does, and config imports only them", () => {
  const effects = ["native.ts", "fd.ts", "net/out-of-band.ts", "net/socket-queries.ts"];
  const importers = files.filter((file) => localImports(texts, file).some((target) => effects.includes(target)));
  expect(importers.filter((file) => /^net\//.test(file)).sort()).toEqual([
    "net/out-of-band.ts",
    "net/socket-queries.ts",
  ]);
  expect(importers.filter((file) => /^config\//.test(file))).toEqual([]);
});

it("no room imports from one above it or beside it", () => {
  expect(upward(texts, floors)).toEqual([]);
});

it("an import upward is noticed, of types and out of a sub-folder too", () => {
  const berth = "broker/berths/berth/berth.ts";
  const feed = (file: string, text: string): string[] => upward(new Map(texts).set(file, text), floors);
  expect(feed(berth, 'import type { Session } from "../../session/session.ts";')).toEqual([
    `${berth} -> broker/session/session.ts`,
  ]);
  expect(feed(berth, 'export { Broker } from "../../broker.ts";')).toEqual([`${berth} -> broker/broker.ts`]);
  expect(feed("broker/bind/deep/er.ts", 'import { Starter } from "../../demand/starter.ts";')).toEqual([
    "broker/bind/deep/er.ts -> broker/demand/starter.ts",
  ]);
  expect(feed("rootfs/disk/lock.ts", 'const { Roots } = await import("../roots/roots.ts");')).toEqual([
    "rootfs/disk/lock.ts -> rootfs/roots/roots.ts",
  ]);
  expect(feed("broker/bind/server/own-socket.ts", 'import { Offers } from "../offers.ts";')).toEqual([
    "broker/bind/server/own-socket.ts -> broker/bind/offers.ts",
  ]);
  expect(feed(berth, 'import { HeldSocket } from "../../sockets/held-socket.ts";')).toEqual([]);
});

/** The one file of a room that the command line may use. */
const fronts: Readonly<Record<string, string>> = {
  access: "peer.ts",
  plans: "carry-over.ts",
  bind: "bind-match.ts",
  restart: "takeover-client.ts",
};

it("of the rooms of the broker, the command line imports nothing but their front files", () => {
  const inside = files
    .filter((file) => layerOf(file) === "cli")
    .flatMap((file) => localImports(texts, file).map((target) => ({ file, target, parts: target.split("/") })))
    .filter(({ parts: [layer, , name] }) => layer === "broker" && name !== undefined)
    .filter(({ parts: [, room = "", name] }) => fronts[room] !== name)
    .map(({ file, target }) => `${file} -> ${target}`);
  expect(inside).toEqual([]);
});

it("of the doorman, the rest of the program imports only the form of its messages", () => {
  const targets = files
    .filter((file) => layerOf(file) !== "doorman")
    .flatMap((file) => localImports(texts, file).filter((target) => layerOf(target) === "doorman"));
  expect(new Set(targets)).toEqual(new Set(["doorman/interfaces/messages.ts"]));
});

it("every local import names a file that exists, with its suffix", () => {
  const missing = files.flatMap((file) =>
    localImports(texts, file)
      .filter((target) => !texts.has(target))
      .map((target) => `${file} -> ${target}`),
  );
  expect(missing).toEqual([]);
  expect(files.flatMap((file) => localImports(texts, file)).length).toBeGreaterThan(100);
});

it("no files import each other in a circle, types included", () => {
  expect(circles(texts)).toEqual([]);
  const bad: Sources = new Map([
    ["a.ts", 'import type { B } from "./b.ts";'],
    ["b.ts", 'export type { C } from "./deep/c.ts";'],
    ["deep/c.ts", 'import { type A, a } from "../a.ts";'],
  ]);
  expect(circles(bad)).toEqual(["a.ts -> b.ts -> deep/c.ts -> a.ts"]);
});

it("files are short, and so are the lines of their comments", () => {
  expect(files.filter((file) => textOf(file).split("\n").length > 301)).toEqual([]);
  expect(wideComments(texts)).toEqual([]);
});

it("comments of native code, tests, scripts and examples have short lines too", () => {
  const others = ["native", "test", "scripts", "bench", "examples", "packages"].flatMap((folder) =>
    readdirSync(join(packageRoot, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|tsx|mjs|cc|h|c)$/.test(name) && !/(^|\/)(node_modules|dist)\//.test(name))
      .map((name) => join(folder, name)),
  );
  expect(others.length).toBeGreaterThan(500);
  expect(wideComments(new Map(others.map((name) => [name, readFileSync(join(packageRoot, name), "utf8")])))).toEqual(
    [],
  );
  expect(wideComments(new Map([["a.c", `// ${"x".repeat(120)}\n// y`]]))).toEqual(["a.c:1"]);
});

it("what a wire is made of is its own: only wire.ts imports from wire/", () => {
  const importers = files.filter((file) => localImports(texts, file).some((target) => target.startsWith("wire/")));
  expect(importers.filter((file) => !file.startsWith("wire/"))).toEqual(["wire.ts"]);
});

it("only native.ts loads the addon, and only systemd/notify.ts unix-dgram", () => {
  const naming = (what: RegExp): string[] => files.filter((file) => what.test(textOf(file)));
  expect(naming(/["']node-gyp-build["']/)).toEqual(["native.ts"]);
  expect(naming(/["'][^"']*\.node["']/)).toEqual([]);
  expect(naming(/\(["']unix-dgram["']\)/)).toEqual(["systemd/notify.ts"]);
  // cli/print/table.ts requires node:util alone, and says why.
  expect(naming(/\bcreateRequire\(/).sort()).toEqual(["cli/print/table.ts", "native.ts", "systemd/notify.ts"]);
  expect(naming(/\bcreateRequire\(import\.meta\.url\)\("node:util"\)/)).toEqual(["cli/print/table.ts"]);
  expect(naming(/process\.dlopen/)).toEqual([]);
});

it("what decides without doing imports nothing that does", () => {
  // node:net is not among them: net/address.ts uses only isIPv4 and isIPv6, which are pure.
  const effects = /^node:(fs|dgram|child_process|worker_threads|timers)/;
  const pureFiles = files.filter((file) =>
    /^placeholder\.ts$|^net\/(address|transport|socket-constants|socket-path)\.ts$|^launch\/|^varlink\/(idl|json|message|validate|service)\.ts$|^broker\/access\/policy\.ts$/.test(
      file,
    ),
  );
  expect(pureFiles.length).toBeGreaterThan(8);
  expect(
    pureFiles.flatMap((file) =>
      imports(textOf(file))
        .filter((name) => effects.test(name))
        .map((name) => `${file} -> ${name}`),
    ),
  ).toEqual([]);
  expect(pureFiles.filter((file) => /\b(Date\.now|performance\.now|setTimeout)\b/.test(textOf(file)))).toEqual([]);
});
