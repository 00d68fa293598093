/**
 * A world of its own for a fleet on one machine: network, mount and process namespaces. When its first process ends,
 * the kernel ends every other one in it, and its interfaces and mounts are gone. Needs root, unshare, ip and nsenter.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sentence } from "../prepare.mjs";

const INSIDE = "BERTHD_FLEET_WORLD";

/** The folder of the world; undefined outside of one. */
export const worldFolder = process.env[INSIDE];

const END_EVERY_MS = 200;

/** Runs a script again in a new world, and removes its folder afterwards. Resolves with its exit status. */
export async function runInWorld(script, args) {
  if (process.getuid() !== 0) throw new Sentence("a fleet in namespaces needs root: sudo npm run …");
  for (const program of ["etcd", "setpriv", "unshare", "nsenter", "ip"]) {
    if (spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0)
      throw new Sentence(`there is no ${program}: apt-get install etcd-server util-linux iproute2`);
  }
  const folder = mkdtempSync(join(tmpdir(), "berthd-fleet-"));
  const namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const node = [process.execPath, script, ...args];
  // Also where this process is killed.
  const world = spawn("setpriv", ["--pdeathsig", "KILL", "--", "unshare", ...namespaces, "--", ...node], {
    detached: true,
    env: { ...process.env, [INSIDE]: folder },
    stdio: ["ignore", "inherit", "inherit"],
  });
  // To its group: unshare ignores it. Again and again: a first process ignores it until it has a handler.
  const end = () => {
    if (world.exitCode === null && world.signalCode === null) process.kill(-world.pid, "SIGTERM");
  };
  let ending;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => {
      ending ??= setInterval(end, END_EVERY_MS);
    });
  const [code] = await once(world, "close");
  clearInterval(ending);
  rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  return code ?? 1;
}

/** What a program of the world may take to start, in milliseconds: the machine may be busy. */
const START_MS = 60_000;

/** A program that runs until it is ended. What it says is kept. */
export class Service {
  #child;
  log = "";

  constructor([command, ...args], env = {}) {
    this.name = args.join(" ");
    this.#child = spawn(command, args, {
      detached: true, // Ctrl-C is for the first process.
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.ended = once(this.#child, "close");
    this.#child.stderr.on("data", (chunk) => {
      this.log = (this.log + chunk).slice(-1_000_000);
    });
  }

  get pid() {
    return this.#child.pid;
  }

  get runs() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves once it has said this. Throws what it has said instead. */
  async says(text) {
    const said = new Promise((resolve) => {
      const look = () => this.log.includes(text) && resolve("said");
      this.#child.stderr.on("data", look);
      look();
    });
    const late = AbortSignal.timeout(START_MS);
    const first = await Promise.race([said, this.ended, once(late, "abort")]);
    if (first !== "said") throw new Error(`${this.name} did not start:\n${this.log.slice(-4_000)}`);
  }

  /** Resolves when it has ended. */
  async kill(signal = "SIGKILL") {
    if (this.runs) this.#child.kill(signal);
    await this.ended;
  }
}
