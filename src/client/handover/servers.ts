/** The servers that a tenancy has made, and the open connections of each, which a newcomer may get. */
import type { EventEmitter } from "node:events";
import type { Server, Socket } from "node:net";
import { BerthError } from "../../errors.ts";
import { type Giver, type StashConnectionsOptions, type StashedConnections, StoppedConnections } from "./give.ts";

/** The longest that a timer can wait. */
const LONG_MS = 2 ** 31 - 1;

interface Served {
  readonly connections: Set<Socket>;
  /** Makes the server, which was closed, accept again. */
  readonly listen: () => void;
}

export class Servers {
  readonly #served = new WeakMap<Server, Served>();
  /** Keeps the process alive: stopped connections do not, and it may have to go on with them. */
  #waiting: ReturnType<typeof setInterval> | undefined;
  /** The newcomer that has been answered. */
  #newcomer: string | undefined;

  /** Notes the connections of a server from now on. `listen` makes it accept again. */
  add(server: Server, listen: () => void): void {
    const connections = new Set<Socket>();
    this.#served.set(server, { connections, listen });
    server.on("connection", (connection) => {
      connections.add(connection);
      connection.once("close", () => connections.delete(connection));
    });
  }

  /**
   * Leaves the servers' connections in the stash for the newcomer with that lease. All go on here when the tenancy
   * emits "resumed", or when this throws.
   */
  async handOver(
    servers: readonly Server[],
    newcomer: string,
    tenancy: Giver & Pick<EventEmitter, "prependOnceListener" | "off">,
    options: StashConnectionsOptions,
  ): Promise<StashedConnections> {
    const all = servers.map((server) => this.#of(server));
    // A second note would replace the first.
    if (this.#newcomer === newcomer)
      throw new BerthError("TENANCY_CHANGED", "the connections were handed over already; name all servers in one call");
    this.#newcomer = newcomer;
    const closed = all.filter((_, index) => servers[index]?.listening === true);
    for (const server of servers) server.close();
    const stopped = new StoppedConnections(
      all.flatMap(({ connections }) => [...connections]),
      newcomer,
      tenancy,
    );
    const resume = (): Promise<void> => {
      for (const { listen } of closed.splice(0)) listen();
      return stopped.resume();
    };
    const resumed = (): void => void resume();
    tenancy.prependOnceListener("resumed", resumed);
    this.#waiting ??= setInterval(() => undefined, LONG_MS);
    try {
      return await stopped.stash(options);
    } catch (error) {
      this.endWait();
      this.#newcomer = undefined;
      tenancy.off("resumed", resumed);
      await resume();
      throw error;
    }
  }

  #of(server: Server): Served {
    const served = this.#served.get(server);
    if (served === undefined)
      throw new BerthError("DESCRIPTOR_MISMATCH", "the server was not made by net() of this tenancy");
    return served;
  }

  /** The handover is over, one way or the other. */
  endWait(): void {
    clearInterval(this.#waiting);
    this.#waiting = undefined;
  }
}
