/** The sockets of a berth as a server may get them, and which of them it has. It answers no bind. */
import type { ServerSpec } from "../../config/keys/spec.ts";
import type { Address } from "../../net/address.ts";
import { BerthCounts } from "../counts/berth-counts.ts";
import type { HeldSocket } from "../sockets/held-socket.ts";
import { knownSocketsOf } from "../sockets/holders/process-sockets.ts";
import type { NamedSocket } from "../sockets/named-socket.ts";
import { socketInode } from "../sockets/passed-socket.ts";
import type { Bound } from "./bind-conflict.ts";
import { type BindRequest, type Candidate, matchBind } from "./bind-match.ts";

/** What the server may get: the sockets of a berth, or none if the berth is no longer configured. */
export interface BindSource {
  readonly name: string;
  readonly sockets: readonly NamedSocket[];
  readonly counts: Pick<BerthCounts, "binds">;
  readonly spec: { readonly server: Pick<ServerSpec, "otherBinds" | "anyNamespace" | "deliver"> };
}

/** A berth that is no longer configured: its server gets nothing. */
export const departed = (name: string): BindSource => ({
  name,
  sockets: [],
  counts: new BerthCounts(),
  spec: { server: { otherBinds: "refuse", anyNamespace: false, deliver: ["bind"] } },
});

/** A socket a server may get, in the form {@link matchBind} decides on. */
export interface Offer extends Candidate, NamedSocket {}

/** A socket that the server gets, and for what. */
export interface Given extends NamedSocket {
  readonly asked: Address;
  /** Undefined for a UNIX socket. */
  readonly now: Bound | undefined;
}

export class Offers {
  readonly #berth: BindSource;
  /** The path in /proc of each socket's last place. Among equal sockets, the server gets one that it no longer has. */
  readonly #given = new Map<HeldSocket, { readonly pid: number; readonly fd: number }>();

  constructor(berth: BindSource) {
    this.#berth = berth;
  }

  /** The server has got the socket, at that number. */
  given(socket: HeldSocket, pid: number, fd: number): void {
    this.#given.set(socket, { pid, fd });
  }

  /** The best one for the request. `ephemeral`: it asks for port 0. */
  find(request: BindRequest, ephemeral: boolean): Offer | undefined {
    const fitting = this.fitting(request, ephemeral);
    // To look at the server is only worth it where there is a choice.
    if (fitting.length <= 1) return fitting[0];
    return fitting.find(({ socket }) => !this.#has(socket)) ?? fitting[0];
  }

  fitting(request: BindRequest, ephemeral: boolean): Offer[] {
    const offers = this.#berth.sockets.flatMap(({ name, socket }): Offer[] => {
      const { listen } = socket;
      const chosenByKernel = listen.address.family !== "unix" && listen.address.port === 0;
      if (ephemeral && !chosenByKernel) return [];
      const address = ephemeral ? listen.address : socket.address;
      return [{ name, socket, kind: listen.kind, address, dualStack: isDualStack(socket) }];
    });
    return matchBind(request, offers);
  }

  /** Whether the server still has the socket where it was put. */
  #has(socket: HeldSocket): boolean {
    const place = this.#given.get(socket);
    return place !== undefined && knownSocketsOf(place.pid).get(place.fd) === socketInode(socket.fd);
  }
}

/** Whether it is bound to [::] and accepts IPv4 too. */
export function isDualStack({
  listen: { address, dualStack },
  options,
}: Pick<HeldSocket, "listen" | "options">): boolean {
  return address.family === "ipv6" && (dualStack || !options.v6only);
}
