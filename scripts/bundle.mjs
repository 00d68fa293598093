#!/usr/bin/env node
/**
 * Makes dist/berth/ out of src/cli/berth.ts: `berth` in a few CommonJS files instead of hundreds of modules. It starts
 * in two thirds of the time (docs/benchmarks.md, "Commands"). And dist/doorman/protocols.js out of packages/doorman,
 * which only the doorman's process loads. Run by `npm run build:ts`, after tsc.
 */
import { chmodSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "rolldown";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Modules that at least so many commands use are in one file; each file costs about 0.4 ms, each 30 KB about 1 ms. */
const SHARED_BY = 8;

await build({
  cwd: root,
  input: { berth: "src/cli/berth.ts" },
  platform: "node",
  external: ["node-gyp-build", "unix-dgram"],
  // CommonJS has no import.meta.url. The sources use it to find the package, and must find the same one from here.
  transform: { target: "node20.12", define: { "import.meta.url": "packageModuleUrl" } },
  output: {
    dir: "dist/berth",
    format: "cjs",
    entryFileNames: "[name].cjs",
    chunkFileNames: "[name].cjs",
    banner: `const packageModuleUrl = require("node:url").pathToFileURL(require("node:path").join(__dirname, "../native.js")).href;`,
    // Names stay as they are in the sources, so that a stack trace can be read.
    minify: { compress: true, mangle: false, codegen: { removeWhitespace: true } },
    codeSplitting: { groups: [{ name: "common", minShareCount: SHARED_BY }] },
  },
});
chmodSync(join(root, "dist/berth/berth.cjs"), 0o755);
// One way to start it. The other files of dist/cli are berthd's.
for (const name of ["berth.js", "berth.d.ts"]) rmSync(join(root, "dist/cli", name), { force: true });

await build({
  cwd: root,
  input: { protocols: "packages/doorman/src/index.ts" },
  platform: "node",
  transform: { target: "node20.12" },
  output: { dir: "dist/doorman", format: "esm" },
});
