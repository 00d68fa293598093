/** A client that misbehaves, in a process and under a user of its own: test/fixtures/attacks/attacker.c. */
import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../../src/native.ts";
import { AttackProgram } from "./program.ts";

/** Where the launcher is. */
export const launcher: string = process.env["BERTH_LAUNCH"] ?? join(packageRoot, "build/Release/berth-launch");

export class Attacker implements AsyncDisposable {
  readonly #program: AttackProgram;

  /** As that user; 0 stays root. `wrap` goes in front of its command line. */
  constructor(uid: number, wrap: readonly string[] = []) {
    this.#program = new AttackProgram("attacker", [String(uid)], wrap);
  }

  /** As the server of a berth, under what the berth says. */
  static served(socket: string, berth: string): Attacker {
    return new Attacker(0, [launcher, "--socket", socket, berth, "--"]);
  }

  get pid(): number {
    return this.#program.pid;
  }

  /** Does one line, as attacker.c describes them. Throws what the kernel says, as `EPERM`. */
  async do(line: string): Promise<string> {
    const { error, text } = await this.try(line);
    if (error !== undefined) throw new Error(`${line.slice(0, 100)}: ${error}`);
    return text;
  }

  /** Does one line that may fail. */
  async try(line: string): Promise<{ readonly error?: string; readonly text: string }> {
    const from = this.#program.lines.length;
    this.#program.say(line);
    const answer = await this.#program.heard(() => true, from);
    if (answer.startsWith("ok ")) return { text: answer.slice(3) };
    return { error: answer.replace(/^error /, ""), text: "" };
  }

  /** The file that its first descriptor of a name is, as `socket:[INODE]`. */
  async file(name: string): Promise<string> {
    const [fd] = (await this.do(`numbers ${name}`)).split(",");
    return readlinkSync(`/proc/${this.pid}/fd/${fd}`);
  }

  /** Does some lines again and again, whatever comes of each. Resolves early when it is ended for what it does. */
  async keepDoing(seconds: number, lines: readonly string[]): Promise<void> {
    await this.do("record");
    for (const line of lines) await this.try(line);
    await this.try(`repeat ${seconds}`);
  }

  /** Calls a method of io.berthd.Broker on a connection, and gives the reply as text. */
  async call(connection: string, method: string, parameters: object = {}, fds = "-"): Promise<string> {
    await this.do(`send ${connection} ${fds} ${call(method, parameters)}`);
    return await this.do(`receive ${connection} received`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program.kill();
  }
}

/** The text of a call of io.berthd.Broker. */
export function call(method: string, parameters: object = {}, flags: object = {}): string {
  return JSON.stringify({ method: `io.berthd.Broker.${method}`, parameters, ...flags });
}
