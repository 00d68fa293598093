#!/usr/bin/env node
/**
 * `npm run bench:shift`: shift-own beside `chown -R`, on one tree, taking turns, with all processors. As root. Makes
 * the tree in a temporary folder, and removes it.
 */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "../bench/build.mjs";
import { describeMachine } from "../bench/machine.mjs";
import { median } from "../bench/report.mjs";
import { root, runBench, whole } from "../bench/session.mjs";

const usage = `Usage: npm run bench:shift -- [--files N] [--rounds N]

  --files N    how large the tree is: 100000 if not given
  --rounds N   how often every contender has its turn: 7 if not given`;

function read({ files, rounds }) {
  return { files: whole("files", files, 10_000_000), rounds: whole("rounds", rounds, 999) };
}

/** Directories of 40 files, as in a distribution's tree. */
function makeTree(folder, files) {
  for (let made = 0; made < files; made += 40) {
    const path = join(folder, String(Math.floor(made / 4000)), String(made));
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < 40; file++) writeFileSync(join(path, String(file)), "");
  }
  return join(folder, "0", "0", "0");
}

/** Seconds that a command takes; it must have made `owner` the owner of `sample`. */
function timed(command, args, sample, owner) {
  const began = performance.now();
  const { status, stderr } = spawnSync(command, args, { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
  const seconds = (performance.now() - began) / 1000;
  if (status !== 0 || lstatSync(sample).uid !== owner)
    throw new Error(`${command} ${args.join(" ")} failed: ${stderr}`);
  return seconds;
}

function main({ files, rounds }) {
  const program = findProgram(root, "shift-own");
  if (program === undefined) throw new Error("shift-own is missing: npm run build");
  if (process.getuid() !== 0) throw new Error("only root can change owners: run it as root");
  const { kernel, cpu, load } = describeMachine();
  const folder = mkdtempSync(join(tmpdir(), "berthd-bench-"));
  try {
    const sample = makeTree(folder, files);
    const contenders = [
      ["chown -R", "chown", (id) => ["-R", `${id}:${id}`, folder]],
      ["shift-own", program, (id) => ["-s", String(id), "-r", "65536", folder]],
      ["shift-own -j 1", program, (id) => ["-j", "1", "-s", String(id), "-r", "65536", folder]],
      ["shift-own, nothing to do", program, (id) => ["-s", String(id), "-r", "65536", folder]],
    ].map(([label, command, args]) => ({ label, command, args, seconds: [] }));
    let id = 0;
    for (let round = 0; round < rounds; round++) {
      for (const { label, command, args, seconds } of contenders) {
        if (!label.endsWith("nothing to do")) id += 65536;
        // Each begins as if the tree were fresh: root's, whose names nobody else can change.
        if (!label.endsWith("nothing to do")) timed("chown", ["-R", "0:0", folder], sample, 0);
        seconds.push(timed(command, args(id), sample, id));
      }
    }
    console.log(`Linux ${kernel}, ${cpu}, ${availableParallelism()} processors, load ${load.toFixed(2)}`);
    console.log(`${files} files, warm, medians of ${rounds} rounds\n`);
    const first = median(contenders[0].seconds);
    for (const { label, seconds } of contenders) {
      const time = median(seconds);
      console.log(`${label.padEnd(26)}${time.toFixed(2).padStart(6)} s   ${(time / first).toFixed(2)}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const options = { files: { type: "string", default: "100000" }, rounds: { type: "string", default: "7" } };
await runBench({ name: "bench:shift", usage, options, read, main });
