/** A terminal that a test looks at and types into: a tmux server of its own. */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { temporaryFolder } from "./folders.ts";
import { pathOf } from "./needs.ts";

const PATIENCE_MS = 30_000;
const LOOK_MS = 50;

export class Tmux implements Disposable {
  readonly #folder: string = temporaryFolder("tmux-");

  /** Runs a shell command in a terminal of 24 lines of 80 columns. It stays when the command ends. */
  constructor(command: string, env: Readonly<Record<string, string>> = {}) {
    const variables = Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
    this.#tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", ...variables, `${command}; cat`);
  }

  /** Another terminal, in which the command runs, and which is looked at from then on. */
  open(command: string): void {
    this.#tmux("new-window", `${command}; cat`);
  }

  /** Looks at the terminal of that number, from 0. */
  turnTo(window: number): void {
    this.#tmux("select-window", "-t", `:${window}`);
  }

  /** Presses keys by their names in tmux(1): "C-c", "Enter", "d". */
  press(...keys: readonly string[]): void {
    this.#tmux("send-keys", ...keys);
  }

  type(text: string): void {
    this.#tmux("send-keys", "-l", text);
  }

  /** What is on the screen, without empty lines at its end. */
  get screen(): string {
    return this.#tmux("capture-pane", "-p").trimEnd();
  }

  /** Whether the terminal wraps long lines (DECAWM). */
  get wraps(): boolean {
    return this.#tmux("display-message", "-p", "#{wrap_flag}").trim() === "1";
  }

  /** Resolves with the screen once it has the text. */
  async shows(text: string): Promise<string> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const { screen } = this;
      if (screen.includes(text)) return screen;
      if (performance.now() > deadline) throw new Error(`the screen has no ${JSON.stringify(text)}:\n${screen}`);
      await setTimeout(LOOK_MS);
    }
  }

  #tmux(...args: readonly string[]): string {
    const { TMUX: _, ...env } = process.env;
    const socket = join(this.#folder, "s");
    return execFileSync(pathOf("tmux"), ["-S", socket, ...args], {
      encoding: "utf8",
      // Not the own one of a user: that may be nologin(8), which ends at once. dash would end with the command at
      // Ctrl-C.
      env: { ...env, LC_ALL: "C.UTF-8", SHELL: "/bin/bash" },
    });
  }

  [Symbol.dispose](): void {
    this.#tmux("kill-server");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
