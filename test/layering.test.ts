/** Who may import whom (the layers, from the bottom up), and that only native.ts loads the addon. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../src/native.ts";

const source = join(packageRoot, "src");
const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const texts = new Map(files.map((file) => [file, readFileSync(join(source, file), "utf8")]));

/** Modules a file names, types included: a layer's types are part of it. */
function imports(file: string): string[] {
  const text = texts.get(file) ?? "";
  const found = text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm);
  return [...found].map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? "");
}

function localImports(file: string): string[] {
  return imports(file)
    .filter((name) => name.startsWith("."))
    .map((name) => relative(source, join(source, dirname(file), name)));
}

/** `broker` for broker/berths/lease.ts, `wire` for wire.ts and wire/inbox.ts. */
function layerOf(file: string): string {
  return file.split("/")[0]?.replace(/\.ts$/, "") ?? "";
}

const pure = ["address", "errors", "placeholder", "socket-constants", "socket-path"];
const all = [...new Set(files.map(layerOf))];

const mayImport: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  "socket-constants": [],
  "socket-path": [],
  placeholder: [],
  address: [],
  native: ["errors"],
  "launcher-path": ["errors", "native"],
  fd: ["native", "errors"],
  wire: ["native", "fd", "errors", "address", "socket-constants"],
  "fd-channel": ["native", "fd", "wire", "errors", "address"],
  config: ["errors", "address", "placeholder"],
  launch: ["errors"],
  log: [],
  accounts: ["config", "native", "errors"],
  rootfs: ["fd", "native", "errors", "launcher-path", "address"],
  varlink: ["fd", "wire", "errors", "address", "native"],
  systemd: ["fd", "launch", "native", "errors", "address", "socket-constants"],
  client: ["varlink", "fd", "native", ...pure],
  broker: all.filter((layer) => !["client", "cli", "index", "fd-channel"].includes(layer)),
  cli: all.filter((layer) => layer !== "index"),
  index: all.filter((layer) => layer !== "cli"),
};

it("every file belongs to a layer that is known here", () => {
  expect(all.filter((layer) => mayImport[layer] === undefined)).toEqual([]);
});

it("no file imports from a layer it may not", () => {
  const wrong = files.flatMap((file) =>
    localImports(file)
      .filter((target) => layerOf(target) !== layerOf(file) && !mayImport[layerOf(file)]?.includes(layerOf(target)))
      .map((target) => `${file} -> ${target}`),
  );
  expect(wrong).toEqual([]);
});

it("every local import names a file that exists, with its suffix", () => {
  const missing = files.flatMap((file) =>
    localImports(file)
      .filter((target) => !texts.has(target))
      .map((target) => `${file} -> ${target}`),
  );
  expect(missing).toEqual([]);
  expect(files.flatMap(localImports).length).toBeGreaterThan(100);
});

it("no files import each other in a circle", () => {
  const state = new Map<string, "open" | "done">();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === "done") return;
    if (state.get(file) === "open") {
      circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    state.set(file, "open");
    for (const target of runtimeImports(file)) visit(target, [...path, file]);
    state.set(file, "done");
  };
  for (const file of files) visit(file, []);
  expect(circles).toEqual([]);
});

/** Imports that remain when the types are gone: only these can be half-initialised. */
function runtimeImports(file: string): string[] {
  const text = texts.get(file) ?? "";
  const found = text.matchAll(/^(import|export)\s+(?!type\b)([^;]*?)\bfrom "(\.[^"]+)"/gm);
  return [...found]
    .filter(([, , names = ""]) => !/^\{(\s*type\s+[\w$]+(\s+as\s+[\w$]+)?\s*,?)+\s*\}\s*$/.test(names))
    .map(([, , , name = ""]) => relative(source, join(source, dirname(file), name)));
}

it("what a wire is made of is its own: only wire.ts imports from wire/", () => {
  const importers = files.filter((file) => localImports(file).some((target) => target.startsWith("wire/")));
  expect(importers.filter((file) => !file.startsWith("wire/"))).toEqual(["wire.ts"]);
});

it("only native.ts loads the addon, and only systemd/notify.ts unix-dgram", () => {
  const naming = (what: RegExp): string[] => files.filter((file) => what.test(texts.get(file) ?? ""));
  expect(naming(/["']node-gyp-build["']/)).toEqual(["native.ts"]);
  expect(naming(/["'][^"']*\.node["']/)).toEqual([]);
  expect(naming(/\(["']unix-dgram["']\)/)).toEqual(["systemd/notify.ts"]);
  // cli/table.ts requires node:util alone, and says why.
  expect(naming(/\bcreateRequire\(/).sort()).toEqual(["cli/table.ts", "native.ts", "systemd/notify.ts"]);
  expect(naming(/\bcreateRequire\(import\.meta\.url\)\("node:util"\)/)).toEqual(["cli/table.ts"]);
  expect(naming(/process\.dlopen/)).toEqual([]);
});

it("what decides without doing imports nothing that does", () => {
  // node:net is not among them: isIPv4 is pure, and address.ts wants no other thing of it.
  const effects = /^node:(fs|dgram|child_process|worker_threads|timers)/;
  const pureFiles = files.filter((file) =>
    /^(address|placeholder|socket-constants)\.ts$|^launch\/|^varlink\/(idl|json|message|validate|service)\.ts$|^broker\/access\/policy\.ts$/.test(
      file,
    ),
  );
  expect(pureFiles.length).toBeGreaterThan(8);
  expect(
    pureFiles.flatMap((file) =>
      imports(file)
        .filter((name) => effects.test(name))
        .map((name) => `${file} -> ${name}`),
    ),
  ).toEqual([]);
  expect(pureFiles.filter((file) => /\b(Date\.now|performance\.now|setTimeout)\b/.test(texts.get(file) ?? ""))).toEqual(
    [],
  );
});
