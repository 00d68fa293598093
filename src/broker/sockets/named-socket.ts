/** A held socket and the name of its section in the configuration. */
import type { HeldSocket } from "./held-socket.ts";

export interface NamedSocket {
  readonly name: string;
  readonly socket: HeldSocket;
}

/** A berth, as far as its sockets need to know it. */
export interface SocketOwner {
  readonly name: string;
  readonly sockets: readonly NamedSocket[];
  /** Set while a tenant has the sockets too. */
  readonly lease: object | undefined;
}
