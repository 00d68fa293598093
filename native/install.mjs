#!/usr/bin/env node
/**
 * What `npm install` runs for this package: it does nothing where a prebuilt binary fits, and builds with node-gyp
 * elsewhere. With `--build` it always builds (`npm run build:native`).
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { withHeaders } from "./headers.mjs";

const always = process.argv.includes("--build");
const program = createRequire(import.meta.url).resolve("node-gyp-build/bin.js");
const { status, error } = spawnSync(process.execPath, [program], {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  env: { ...withHeaders(), ...(always && { npm_config_build_from_source: "true" }) },
  stdio: "inherit",
});
if (error) console.error(error.message);
process.exitCode = status ?? 1;
