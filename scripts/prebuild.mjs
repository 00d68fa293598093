#!/usr/bin/env node
/**
 * Puts the binaries that a package carries into prebuilds/linux-ARCH: the addon, tagged with its libc, and the
 * programs. `npm pack` runs it. All are built for this machine's architecture; other ones build from source.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, readdirSync, rmSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withHeaders } from "../native/headers.mjs";

const root = join(fileURLToPath(import.meta.url), "../..");
const folder = join(root, "prebuilds", `linux-${arch()}`);
const release = join(root, "build/Release");

rmSync(join(root, "prebuilds"), { recursive: true, force: true });
const { status } = spawnSync("prebuildify", ["--napi", "--strip", "--tag-libc"], {
  cwd: root,
  // stdout belongs to `npm pack --json`
  stdio: ["ignore", 2, 2],
  env: { JOBS: "max", ...withHeaders(), PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH}` },
});
if (status !== 0) process.exit(status ?? 1);

const addon = readdirSync(folder).find((name) => name.endsWith(".node"));
if (addon === undefined) throw new Error(`prebuildify left no addon in ${folder}`);
// prebuildify moves the addon away; this checkout goes on using its own.
copyFileSync(join(folder, addon), join(release, "berthd.node"));
for (const program of ["berth-guard", "berth-launch", "shift-mount", "shift-own"])
  copyFileSync(join(release, program), join(folder, program));
