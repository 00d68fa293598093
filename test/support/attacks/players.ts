/** A game with players: a server on a berth, and those who play on it, each in a process. test/fixtures/attacks/. */
import { launcher } from "./attacker.ts";
import { AttackProgram } from "./program.ts";

/** What the players have seen. */
export interface Played {
  readonly sent: number;
  /** Echoes that never came. */
  readonly lost: number;
  readonly wrong: number;
  /** Milliseconds. */
  readonly longest: number;
}

export class Game implements AsyncDisposable {
  readonly #server: AttackProgram;
  readonly #players: AttackProgram;

  private constructor(server: AttackProgram, players: AttackProgram) {
    this.#server = server;
    this.#players = players;
  }

  /** A server on the berth, whose sockets are of TCP and UDP at one port, with so many players. */
  static async begin(socket: string, berth: string, port: number, count: number): Promise<Game> {
    const server = new AttackProgram("echo", [], [launcher, "--socket", socket, berth, "--"]);
    await server.heard((line) => line === "serving");
    const players = new AttackProgram("players", [String(port), String(count)]);
    const game = new Game(server, players);
    try {
      await players.heard((line) => line === "playing");
      return game;
    } catch (error) {
      await game[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends the playing. */
  async over(): Promise<Played> {
    await this.#players.end();
    return JSON.parse(await this.#players.heard((line) => line.startsWith("{"))) as Played;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#players.kill();
    await this.#server.kill();
  }
}
