/** Lets several processes of bench/common.c begin their timed loops at once. It starts none. */
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const READY_MS = 30_000;

export class Gate {
  /** What the processes get as `$BENCH_GATE`. */
  folder;
  #fd;

  constructor(parent) {
    this.folder = mkdtempSync(join(parent, "gate-"));
    execFileSync("mkfifo", [join(this.folder, "gate")], { timeout: READY_MS });
  }

  /** Lets them begin once so many are ready. Resolves with the moment, in nanoseconds of CLOCK_MONOTONIC. */
  async open(count) {
    for (const end = Date.now() + READY_MS; readdirSync(this.folder).length < count + 1; await delay(5))
      if (Date.now() > end) throw new Error(`not all of the ${count} clients were ready after ${READY_MS / 1000} s`);
    const begin = Number(process.hrtime.bigint());
    this.#fd = openSync(join(this.folder, "gate"), "r+");
    return begin;
  }

  remove() {
    if (this.#fd !== undefined) closeSync(this.#fd);
    rmSync(this.folder, { recursive: true });
  }
}
