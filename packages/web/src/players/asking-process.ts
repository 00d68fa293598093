/**
 * One process that asks servers (gamedig-child.ts), seen from the page's: started for the first question, ended when it
 * is idle, late, too large or says too much. It gets none of the page's descriptors, and no environment but PATH.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { clean } from "../model/text.ts";
import { packageFolder } from "../package-folder.ts";
import { AskingEnded } from "./asker.ts";
import { answerIn, type PlayersAnswer, type Question, STUCK } from "./question.ts";

const PROGRAM = join(packageFolder, "dist/server/players/gamedig-child.js");
/** gamedig itself gives up after 4 seconds, so a process that says nothing in these is stuck. */
const LATEST_MS = 6_000;
/** To load gamedig, on a machine that is busy. */
const START_MS = 30_000;
const IDLE_MS = 60_000;
/** How often it is checked. Time is counted in checks: no server is blamed while this process itself stands still. */
const LOOK_MS = 250;
const MOST_MEMORY = 256 * 2 ** 20;
const TOO_LONG = "reading an answer takes too long";
const LONGEST_LINE = 4096;

interface UnderWay {
  readonly question: Question;
  /** Looks since it was sent. */
  looks: number;
  resolve(answer: PlayersAnswer): void;
  reject(error: Error): void;
}

export class AskingProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #underWay = new Map<number, UnderWay>();
  readonly #watch: NodeJS.Timeout;
  /** Looks since it started, was ready or answered. */
  #looks = 0;
  #isReady = false;
  #hasEnded = false;
  #lastId = 0;
  #line = "";

  constructor() {
    const env = { PATH: process.env["PATH"] ?? "" };
    const args = ["--max-old-space-size=64", "--optimize-for-size", PROGRAM];
    this.#child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "ignore"], env, cwd: "/" });
    this.#child.once("error", (error) => this.#end(`the process that asks does not start: ${error.message}`));
    this.#child.once("exit", (code) => this.#end(code === STUCK ? TOO_LONG : "the process that asks has ended"));
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    this.#watch = setInterval(() => this.#look(), LOOK_MS).unref();
    // It ends when its input does, so it need not keep this process alive.
    this.#child.unref();
    for (const pipe of [this.#child.stdin, this.#child.stdout]) if (pipe instanceof Socket) pipe.unref();
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Undefined where it did not start. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Rejects with a sentence without its end: why there is no answer. */
  ask(question: Question): Promise<PlayersAnswer> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const asked: UnderWay = { question, looks: 0, resolve, reject };
      this.#underWay.set(id, asked);
      if (this.#isReady) this.#send(id, asked);
    });
  }

  /** Ends the process. Questions under way are rejected. */
  close(): void {
    this.#end("berth-web ends");
  }

  #send(id: number, asked: UnderWay): void {
    asked.looks = 0;
    this.#child.stdin.write(`${JSON.stringify({ id, ...asked.question })}\n`);
  }

  #read(text: string): void {
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop() ?? "";
    if ([this.#line, ...lines].some((line) => line.length > LONGEST_LINE)) return this.#end("it says too much");
    for (const line of lines) if (!this.#hasEnded) this.#hear(line);
  }

  #hear(line: string): void {
    const said = fieldsOf(line);
    if (said["ready"] === true && !this.#isReady) {
      this.#isReady = true;
      this.#looks = 0;
      for (const [id, asked] of this.#underWay) this.#send(id, asked);
      return;
    }
    const id = Number(said["id"]);
    const asked = this.#underWay.get(id);
    if (asked === undefined) return this.#end("it says what nobody asked");
    this.#underWay.delete(id);
    this.#looks = 0;
    const answer = answerIn(said["answer"]);
    if (answer !== undefined) asked.resolve(answer);
    else asked.reject(new Error(typeof said["why"] === "string" ? clean(said["why"], 200) : "it failed"));
  }

  #look(): void {
    const waited = ++this.#looks * LOOK_MS;
    if (memoryOf(this.pid) > MOST_MEMORY) return this.#end("reading an answer takes too much memory");
    if (!this.#isReady) return waited > START_MS ? this.#end("the process that asks does not start") : undefined;
    for (const asked of this.#underWay.values()) if (++asked.looks * LOOK_MS > LATEST_MS) return this.#end(TOO_LONG);
    if (this.#underWay.size === 0 && waited > IDLE_MS) this.#end("nobody asks");
  }

  #end(why: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearInterval(this.#watch);
    this.#child.kill("SIGKILL");
    const many = this.#underWay.size > 1 ? `, of this or one of ${this.#underWay.size - 1} others asked with it` : "";
    const error = this.#isReady ? new AskingEnded(`${why}${many}`) : new Error(why);
    for (const { reject } of this.#underWay.values()) reject(error);
    this.#underWay.clear();
  }
}

/** What a line of JSON has; nothing where it is none. */
function fieldsOf(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Bytes in memory; 0 where that cannot be read, as when it has just ended. */
function memoryOf(pid: number | undefined): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
