/** A held socket and the name of its section in the configuration. */
import type { HeldSocket } from "./held-socket.ts";

export interface NamedSocket {
  readonly name: string;
  readonly socket: HeldSocket;
}

/** What a set of sockets is compared with: a berth, as far as its sockets need to know. */
export interface SocketOwner {
  readonly name: string;
  readonly sockets: readonly NamedSocket[];
  /** Set while a tenant has the sockets, too. */
  readonly lease: object | undefined;
}
