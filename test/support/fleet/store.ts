/**
 * A store that the servers of several hosts write to. It keeps the highest generation of its writers, and refuses a
 * lower one: a fencing counter. A write is a line with the writer's generation; the answer is `kept` or `refused`.
 */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { createInterface } from "node:readline";

export class FencedStore implements AsyncDisposable {
  readonly #server: Server;
  #generation = 0;
  /** How many writes of each generation it has kept. */
  readonly kept = new Map<number, number>();
  /** How many of each it has refused. */
  readonly refused = new Map<number, number>();
  /** The generations of the writes that it has kept, in order, each once for as long as it does not change. */
  readonly writers: number[] = [];

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      socket.on("error", () => undefined);
      createInterface({ input: socket })
        .on("line", (line) => socket.write(this.#write(Number(line))))
        .on("error", () => undefined); // It has the socket's errors too.
    });
  }

  static async open(): Promise<FencedStore> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FencedStore(server);
  }

  get port(): number {
    const address: AddressInfo | string | null = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  #write(generation: number): string {
    if (!(generation >= this.#generation)) {
      this.refused.set(generation, (this.refused.get(generation) ?? 0) + 1);
      return "refused\n";
    }
    this.#generation = generation;
    if (this.writers.at(-1) !== generation) this.writers.push(generation);
    this.kept.set(generation, (this.kept.get(generation) ?? 0) + 1);
    return "kept\n";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
  }
}
