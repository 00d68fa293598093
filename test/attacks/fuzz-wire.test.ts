/**
 * Broken calls with descriptors of every kind at every byte: scripts/fuzz-wire.mjs, for as long as the gate has time.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { attackSeconds } from "../support/attacks/seconds.ts";
import { needs } from "../support/needs.ts";

const SECONDS = attackSeconds();
const options = { ...needs("root"), timeout: (SECONDS + 60) * 1000 };

/** Rejects with all that it printed, the seed included. */
async function fuzz(seconds: number): Promise<string> {
  const script = join(packageRoot, "scripts/fuzz-wire.mjs");
  const { stdout } = await promisify(execFile)(process.execPath, [script, "--seconds", String(seconds)]);
  return stdout;
}

it("the broker answers, and keeps nothing of what it was sent", options, async () => {
  expect(await fuzz(SECONDS)).toContain("the broker is as it was");
});
