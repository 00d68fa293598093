/** A C program of test/fixtures/attacks: lines go in, lines come out. Compiled once for each process of tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { packageRoot } from "../../../src/native.ts";
import { compileC } from "../compile.ts";
import { temporaryFolder } from "../folders.ts";

export type Name = "attacker" | "echo" | "fuse" | "ping" | "players";

const compiled = new Map<Name, string>();
let folder: string | undefined;

/** The program's path. Everybody may run it. */
export function pathTo(name: Name): string {
  const known = compiled.get(name);
  if (known !== undefined) return known;
  if (folder === undefined) {
    const made = temporaryFolder();
    chmodSync(made, 0o755);
    process.once("exit", () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  const path = compileC(join(packageRoot, `test/fixtures/attacks/${name}.c`), join(folder, name), ["-lpthread"]);
  compiled.set(name, path);
  return path;
}

export class AttackProgram {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #watchers = new Set<() => void>();
  #ended = false;
  /** What it has said so far. */
  readonly lines: string[] = [];

  /** `wrap` goes in front of its command line. */
  constructor(name: Name, args: readonly string[], wrap: readonly string[] = []) {
    const [command = "", ...rest] = [...wrap, pathTo(name), ...args];
    this.#child = spawn(command, rest, { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null || this.#child.pid === undefined) throw new Error(`${name} could not be started`);
    this.pid = this.#child.pid;
    this.#child.stdin?.on("error", () => undefined); // it may end before it has read
    createInterface(this.#child.stdout).on("line", (line) => this.#tell(() => this.lines.push(line)));
    this.#closed = once(this.#child, "close").then(() => this.#tell(() => (this.#ended = true)));
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Resolves with the first line from `from` on that satisfies the test. Rejects when it ends without. */
  async heard(test: (line: string) => boolean, from = 0): Promise<string> {
    for (;;) {
      const found = this.lines.slice(from).find(test);
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`the program ended (${this.#child.exitCode}):\n${this.lines.join("\n")}`);
      await new Promise<void>((resolve) => {
        this.#watchers.add(resolve);
      });
    }
  }

  /** Ends its input, and waits for its end. */
  async end(): Promise<void> {
    this.#child.stdin?.end();
    await this.#closed;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed;
  }

  #tell(change: () => void): void {
    change();
    for (const watcher of [...this.#watchers]) watcher();
    this.#watchers.clear();
  }
}
