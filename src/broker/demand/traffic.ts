/**
 * Whether the sockets of a berth are in use, without any cost per packet. For UDP, the kernel tells when the last
 * datagram that was read arrived. For a listener, it tells whether a connection is open.
 */
import { isUdp } from "../../net/address.ts";
import { SO_TIMESTAMP, SO_TIMESTAMPING, SO_TIMESTAMPNS, SOL_SOCKET } from "../../net/socket-constants.ts";
import { socketOption } from "../../net/socket-queries.ts";
import type { ForeignCalls } from "../access/foreign-calls.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import type { Connections } from "./connections.ts";

export interface TrafficOptions {
  readonly sys: ForeignCalls;
  readonly connections: Pick<Connections, "refresh" | "to">;
}

export class Traffic {
  readonly #sys: ForeignCalls;
  readonly #connections: Pick<Connections, "refresh" | "to">;
  readonly #stamps = new WeakMap<HeldSocket, string>();

  constructor({ sys, connections }: TrafficOptions) {
    this.#sys = sys;
    this.#connections = connections;
  }

  /** Calls `then` once it is known who is connected, so that {@link seen} can tell: now, or in a later turn. */
  ready(sockets: readonly NamedSocket[], then: () => void): void {
    if (sockets.every(({ socket }) => socket.listen.kind === "datagram")) then();
    else this.#connections.refresh(then);
  }

  /**
   * Whether any of them has been used since the last call, or is in use now. `isOurs`: whether a datagram that came at
   * this time, in milliseconds since 1970, is a question of the broker's own.
   */
  seen(sockets: readonly NamedSocket[], isOurs: (time: number) => boolean = () => false): boolean {
    // Ask all of them: each remembers its own last time.
    return sockets.map(({ socket }) => this.#used(socket, isOurs)).includes(true);
  }

  /** Whether the server itself asks for timestamps. Then they do not change for us, so the socket may be in use. */
  #isBlind(socket: HeldSocket): boolean {
    return [SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING].some(
      (option) => socketOption(socket.fd, SOL_SOCKET, option, this.#sys) > 0,
    );
  }

  #used(socket: HeldSocket, isOurs: (time: number) => boolean): boolean {
    // A reload has closed it, or the broker ends.
    if (!socket.open) return false;
    if (socket.listen.kind !== "datagram") return this.#connections.to(socket);
    if (!isUdp(socket.listen)) return false;
    if (!socket.tellsTimes) return true;
    const stamp = new Int32Array(4);
    const now = this.#sys.lastReceived(socket.fd, stamp) < 0 ? "" : stamp.join();
    const before = this.#stamps.get(socket);
    this.#stamps.set(socket, now);
    return (now !== before && !isOurs(millisecondsOf(stamp))) || this.#isBlind(socket);
  }
}

/** Of a timespec: two words of 64 bits. */
function millisecondsOf(stamp: Int32Array): number {
  const view = new BigInt64Array(stamp.buffer);
  return Number(view[0] ?? 0n) * 1000 + Number(view[1] ?? 0n) / 1e6;
}
