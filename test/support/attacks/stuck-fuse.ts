/**
 * A FUSE file system of one file, which never answers the requests that a test chooses: test/fixtures/attacks/fuse.c.
 * Its end always ends the waiting of all others: nothing stays in D state. With `await using`, declare it after those
 * whom it holds up: it has to end before them.
 */
import { spawnSync } from "node:child_process";
import { rmdirSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../folders.ts";
import { AttackProgram } from "./program.ts";

/** The requests of a file system that can be left unanswered, as linux/fuse.h names them. */
export type FuseRequest =
  | "LOOKUP"
  | "GETATTR"
  | "OPEN"
  | "READ"
  | "WRITE"
  | "STATFS"
  | "RELEASE"
  | "FSYNC"
  | "FLUSH"
  | "POLL"
  | "IOCTL"
  | "GETXATTR";

export class StuckFuse implements AsyncDisposable {
  readonly #folder: string;
  readonly #program: AttackProgram;
  #isGone = false;

  private constructor(folder: string, withheld: readonly FuseRequest[]) {
    this.#folder = folder;
    this.#program = new AttackProgram("fuse", withheld.length > 0 ? [folder, withheld.join()] : [folder]);
  }

  /** Mounts it; everybody may use it (allow_other). Needs root. */
  static async mount(withheld: readonly FuseRequest[] = []): Promise<StuckFuse> {
    const fuse = new StuckFuse(temporaryFolder("berthd-fuse-"), withheld);
    try {
      await fuse.#program.heard((line) => line === "ready");
      return fuse;
    } catch (error) {
      await fuse[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The one file in it, of one page. */
  get file(): string {
    return join(this.#folder, "file");
  }

  /** From now on exactly these are not answered. */
  async withhold(...requests: readonly FuseRequest[]): Promise<void> {
    await this.#do(`withhold ${requests.join()}`);
  }

  /** Answers all that was withheld, and all that comes. */
  async answer(): Promise<void> {
    await this.#do("answer");
  }

  /** Resolves with the thread that waits, once such a request has been left unanswered. */
  async stuck(request: FuseRequest): Promise<number> {
    const line = await this.#program.heard((heard) => heard.startsWith(`withheld ${request} `));
    return Number(line.split(" ").at(-1));
  }

  /** How many such requests have been left unanswered. */
  withheld(request: FuseRequest): number {
    return this.#program.lines.filter((line) => line.startsWith(`withheld ${request} `)).length;
  }

  async #do(line: string): Promise<void> {
    const from = this.#program.lines.length;
    this.#program.say(line);
    await this.#program.heard((heard) => heard === "done", from);
  }

  /** Unmounts, whatever waits, and ends the program: whoever waits for an answer gets an error. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isGone) return;
    this.#isGone = true;
    spawnSync("umount", ["--lazy", this.#folder], { stdio: "ignore" });
    await this.#program.kill();
    rmdirSync(this.#folder);
  }
}
