/**
 * One port of a berth's SDK, on both loopback addresses. A connection is let in if its other end is a socket of the
 * user that the berth's server runs as. It speaks for the server that had the berth then, and for no later one.
 */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { Session } from "../session.ts";
import { MOST_ACCEPTED, MOST_CONNECTIONS } from "./limits.ts";
import type { Peers } from "./peer.ts";

export interface GateOptions {
  readonly port: number;
  readonly peers: Peers;
  /** The server that has the berth, and the user it runs as. Undefined: nobody has it. */
  readonly tenant: () => Promise<{ readonly session: Session; readonly uid: number } | undefined>;
  readonly serve: (socket: Socket, session: Session) => void;
  readonly log: (message: string) => void;
}

const HOSTS = ["127.0.0.1", "::1"];

export class Gate {
  readonly #options: GateOptions;
  readonly #sockets = new Set<Socket>();
  /** Those of them that are the server's. */
  readonly #admitted = new Set<Socket>();
  #servers: Server[] = [];

  private constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Throws what listen(2) says: EADDRINUSE. Without IPv6 there is one address. */
  static async open(options: GateOptions): Promise<Gate> {
    const gate = new Gate(options);
    try {
      for (const host of HOSTS) await gate.#listen(host);
      return gate;
    } catch (error) {
      gate.close();
      throw error;
    }
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #listen(host: string): Promise<void> {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined); // it closes
      socket.once("close", () => {
        this.#sockets.delete(socket);
        this.#admitted.delete(socket);
      });
      this.#admit(socket).catch((error: unknown) => {
        this.#options.log(`a connection is refused: ${error instanceof Error ? error.message : error}`);
        socket.resetAndDestroy();
      });
    });
    server.maxConnections = MOST_ACCEPTED;
    server.listen({ host, port: this.#options.port, ipv6Only: true });
    try {
      await once(server, "listening");
      this.#servers.push(server);
      // accept(2) failed: no descriptor was left.
      server.on("error", (error) => this.#options.log(`no connection: ${error.message}`));
    } catch (error) {
      const isAbsent =
        error instanceof Error && "code" in error && /^E(?:ADDRNOTAVAIL|AFNOSUPPORT)$/.test(String(error.code));
      if (host === "127.0.0.1" || !isAbsent) throw error;
    }
  }

  async #admit(socket: Socket): Promise<void> {
    const { peers, tenant, serve, log } = this.#options;
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    const theirs = { address: remoteAddress ?? "", port: remotePort ?? 0 };
    const own = { address: localAddress ?? "", port: localPort ?? 0 };
    const uid = await peers.uidOf(theirs, own);
    const known = await tenant();
    if (known === undefined || uid !== known.uid) {
      const whose = uid === undefined ? "nobody has its other end any more" : `it is of user ${uid}`;
      log(
        known === undefined
          ? "a connection is refused: no server has the berth"
          : `a connection is refused: ${whose}, and the server's user is ${known.uid}`,
      );
      socket.resetAndDestroy();
      return;
    }
    const { session } = known;
    if (socket.destroyed || session.isEnded) return void socket.destroy();
    if (this.#admitted.size >= MOST_CONNECTIONS) {
      log(`a connection is refused: the server has ${MOST_CONNECTIONS} already`);
      return void socket.resetAndDestroy();
    }
    this.#admitted.add(socket);
    const forget = session.onEnd(() => socket.destroy());
    socket.once("close", forget);
    serve(socket, session);
    socket.resume();
  }
}
