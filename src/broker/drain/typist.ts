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
import type { Lease } from "../berths/lease.ts";
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

export class Typist {
  readonly #options: TypistOptions;
  /** One connection at a time for each lease, so a tenant costs the broker one descriptor at most. The calls end it. */
  readonly #open = new Map<Tenanted, () => void>();

  constructor(options: TypistOptions) {
    this.#options = options;
  }

  /** Types a line on the console whose socket is at the path. Returns why it could not. */
  type(lease: Tenanted, path: string, line: string): string | undefined {
    if (this.#open.has(lease)) return `another line was typed on its console less than ${READ_MS / 1000} s ago`;
    const { sys, guard } = this.#options;
    const number = sys.socket(AF_UNIX, SOCK_STREAM, 0);
    if (number < 0) return new SysError("socket", -number).message;
    const socket = FdHandle.adopt(number, sys);
    sys.setsockopt(number, SOL_SOCKET, SO_PASSRIGHTS, 0);
    const why = this.#send(number, path, Buffer.from(line + ENTER));
    const close = (): void => guard.close(lease.tenant.uid, socket.steal());
    if (why !== undefined) {
      close();
      return why;
    }
    const timer = setTimeout(() => end(), READ_MS).unref();
    const end = (): void => {
      clearTimeout(timer);
      this.#open.delete(lease);
      close();
    };
    this.#open.set(lease, end);
    return undefined;
  }

  /** Closes all connections. */
  close(): void {
    for (const end of [...this.#open.values()]) end();
  }

  #send(socket: number, path: string, line: Buffer): string | undefined {
    const { sys } = this.#options;
    const connected = sys.connect(socket, encodeSockaddr({ family: "unix", path, abstract: false }));
    if (connected === -EAGAIN) return "its console does not answer";
    if (connected < 0) return new SysError("connect", -connected, path).message;
    const frames = inputFrames(line);
    const sent = sys.sendmsg(socket, frames, 0, NO_FDS, 0);
    if (sent < 0) return new SysError("sendmsg", -sent, path).message;
    return sent === frames.length ? undefined : "its console took a part of the line only";
  }
}
