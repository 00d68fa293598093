#!/usr/bin/env node
/**
 * `npm run bench:shift`: shift-own beside `chown -R`, on trees of several sizes, taking turns, with all processors.
 * As root. Makes each tree in a temporary folder, and removes it.
 */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "../bench/build.mjs";
import { describeMachine } from "../bench/machine.mjs";
import { publish } from "../bench/results.mjs";
import { refusePart, root, runBench, whole } from "../bench/session.mjs";
import { summariseShift } from "../bench/shift-report.mjs";

const usage = `Usage: npm run bench:shift -- [--files N] [--rounds N] [--json] [--save]

  --files N    one tree of so many files, instead of 1000, 10000 and 100000
  --rounds N   how often every contender has its turn: 7 if not given
  --json       print JSON instead of the table
  --save       keep the result in bench/results, for npm run bench:report`;

function read({ files, rounds, json, save }) {
  refusePart(save, "files", files !== undefined);
  const sizes = files === undefined ? [1000, 10_000, 100_000] : [whole("files", files, 10_000_000)];
  return { sizes, rounds: whole("rounds", rounds, 999), print: { json, save } };
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

/** Every contender's seconds for a tree of so many files, which is made and removed here. */
function measure(program, files, rounds) {
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
    return contenders.map(({ label, seconds }) => ({ files, label, seconds }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function main({ print, sizes, rounds }) {
  const program = findProgram(root, "shift-own");
  if (program === undefined) throw new Error("shift-own is missing: npm run build");
  if (process.getuid() !== 0) throw new Error("only root can change owners: run it as root");
  const machine = describeMachine();
  const rows = summariseShift(sizes.flatMap((files) => measure(program, files, rounds)));
  publish("shift", print, { machine, rounds, rows });
}

const flag = { type: "boolean", default: false };
const text = { type: "string" };
const options = { files: text, rounds: { ...text, default: "7" }, json: flag, save: flag };
await runBench({ name: "bench:shift", usage, options, read, main });
