/**
 * Types lines on the consoles of servers. A tenant may serve its console's socket itself. So the broker reads nothing
 * from it, and a guard process closes the connection: the tenant may have sent descriptors whose close waits (hazard
 * 40).
 */
import { constants } from "node:os";
import { SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { AF_UNIX, encodeSockaddr } from "../../net/address.ts";
import { inputFrames } from "../../net/console-frames.ts";
import { SO_PASSRIGHTS, SOL_SOCKET } from "../../net/socket-constants.ts";
import { SOCK_STREAM } from "../../net/transport.ts";
import type { Lease } from "../berths/berth/lease.ts";
import type { Guard } from "../guard/guard.ts";

const { EAGAIN } = constants.errno;
/** How long a console may take to read a line. A connection that is closed before may lose it. */
const READ_MS = 5000;
/** Enter. */
const ENTER = "\r";
const NO_FDS = new Int32Array(0);

export interface TypistOptions {
  readonly sys: Native;
  readonly guard: Pick<Guard, "close">;
}

type Tenanted = Pick<Lease, "tenant">;

interface Connection {
  readonly socket: FdHandle;
  /** Ends the connection. */
  readonly timer: NodeJS.Timeout;
}

export class Typist {
  readonly #options: TypistOptions;
  /** One connection for each lease, so a tenant costs the broker one descriptor at most. */
  readonly #open = new Map<Tenanted, Connection>();

  constructor(options: TypistOptions) {
    this.#options = options;
  }

  /** Types a line on the console whose socket is at the path. Returns why it could not. */
  type(lease: Tenanted, path: string, line: string): string | undefined {
    const connection = this.#open.get(lease) ?? this.#connect(lease, path);
    if (typeof connection === "string") return connection;
    const why = this.#send(connection.socket.fd, path, Buffer.from(line + ENTER));
    // After a part of a line nothing else can be typed.
    if (why !== undefined) this.#end(lease);
    else connection.timer.refresh();
    return why;
  }

  /** Closes all connections. */
  close(): void {
    for (const lease of [...this.#open.keys()]) this.#end(lease);
  }

  /** A connection that ends when nothing was typed for a while; or why there is none. */
  #connect(lease: Tenanted, path: string): Connection | string {
    const { sys, guard } = this.#options;
    const number = sys.socket(AF_UNIX, SOCK_STREAM, 0);
    if (number < 0) return new SysError("socket", -number).message;
    const socket = FdHandle.adopt(number, sys);
    sys.setsockopt(number, SOL_SOCKET, SO_PASSRIGHTS, 0);
    const connected = sys.connect(number, encodeSockaddr({ family: "unix", path, abstract: false }));
    if (connected < 0) {
      guard.close(lease.tenant.uid, socket.steal());
      return connected === -EAGAIN ? "its console does not answer" : new SysError("connect", -connected, path).message;
    }
    const connection = { socket, timer: setTimeout(() => this.#end(lease), READ_MS).unref() };
    this.#open.set(lease, connection);
    return connection;
  }

  #end(lease: Tenanted): void {
    const connection = this.#open.get(lease);
    if (connection === undefined) return;
    this.#open.delete(lease);
    clearTimeout(connection.timer);
    this.#options.guard.close(lease.tenant.uid, connection.socket.steal());
  }

  #send(socket: number, path: string, line: Buffer): string | undefined {
    const { sys } = this.#options;
    const frames = inputFrames(line);
    const sent = sys.sendmsg(socket, frames, 0, NO_FDS, 0);
    if (sent < 0) return new SysError("sendmsg", -sent, path).message;
    return sent === frames.length ? undefined : "its console took a part of the line only";
  }
}
