/** Another client of the broker, which asks 100 times a second: test/fixtures/attacks/ping.c, a process of its own. */
import { AttackProgram } from "./program.ts";

/** What came of the pings. Milliseconds, without those in which broker or pinger could run and had no processor. */
export interface Pings {
  readonly pings: number;
  readonly longest: number;
  readonly median: number;
  readonly p99: number;
  /** The most that a ping's time is without. */
  readonly withheld: number;
  /** Connections that were not accepted, and errors for an answer. */
  readonly refused: number;
  /** Connections that ended before the answer. */
  readonly cut: number;
}

export interface PingOptions {
  /** Over one connection that is kept, or a new one each time. Default: kept. */
  readonly connection?: "kept" | "new";
  /** Default: root. */
  readonly uid?: number;
  /** Default: org.varlink.service.GetInfo. */
  readonly method?: string;
}

export class Pinger implements AsyncDisposable {
  readonly #program: AttackProgram;

  private constructor(program: AttackProgram) {
    this.#program = program;
  }

  /** Resolves when the first ping has been answered. */
  static async start(socket: string, { connection = "kept", uid = 0, method }: PingOptions = {}): Promise<Pinger> {
    const more = method === undefined ? [] : [method];
    const program = new AttackProgram("ping", [socket, connection, String(uid), ...more]);
    await program.heard((line) => line === "going");
    return new Pinger(program);
  }

  /** Ends it. */
  async stop(): Promise<Pings> {
    await this.#program.end();
    return JSON.parse(await this.#program.heard((line) => line.startsWith("{"))) as Pings;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program.kill();
  }
}
