/**
 * The interface that a held socket is bound to, by `device` or by the scope of its address. The kernel knows it by its
 * index alone. After an interface went and came back its name has another, and the socket hears nothing (hazard 54;
 * test/broker/berths/interface-follower.test.ts). SO_BINDTOIFINDEX of SOL_SOCKET is read without the socket's lock.
 */
import type { SocketOptions } from "../../../config/keys/socket-options.ts";
import type { Native } from "../../../native.ts";
import type { Address, ListenAddress } from "../../../net/address.ts";
import { SO_BINDTOIFINDEX, SOL_SOCKET } from "../../../net/socket-constants.ts";
import { socketOption } from "../../../net/socket-queries.ts";
import { interfaceIndex, interfaceOf } from "../../plans/socket-care.ts";

export class BoundInterface {
  readonly #name: string;
  /** What the socket was bound to when it was opened or passed, or since; 0: to none. */
  #index = 0;
  /** What it was to be bound to last: that is asked for once. */
  #wanted = 0;

  private constructor(name: string) {
    this.#name = name;
  }

  /** Undefined if the socket is bound to none, or to an index: that stays the same. */
  static of(listen: ListenAddress, options: SocketOptions): BoundInterface | undefined {
    const name = interfaceOf(listen, options);
    return name === undefined || /^\d+$/.test(name) ? undefined : new BoundInterface(name);
  }

  /** Whatever the socket is bound to now. */
  note(fd: number, sys: Native): void {
    this.#index = Math.max(0, socketOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, sys));
  }

  /** The index that the socket must be bound to; "none": it was bound to none; "gone": there is none now. */
  compare(fd: number, sys: Native): "none" | "bound" | "gone" | number {
    if (this.#index === 0) return "none";
    const is = interfaceIndex(this.#name, sys);
    if (is === 0) return "gone";
    const has = socketOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, sys);
    // If it has neither, its server has bound it to another interface itself.
    if (has === this.#wanted || has === is) this.#index = has;
    if (has === is || has !== this.#index || is === this.#wanted) return "bound";
    this.#wanted = is;
    return is;
  }
}

/** The address with its scope as the kernel gives it: an index, of the interface that has that name now. */
export function withIndex(address: Address, sys: Native): Address {
  const index = address.family === "ipv6" ? interfaceIndex(address.scope, sys) : 0;
  return index === 0 || address.family !== "ipv6" ? address : { ...address, scope: String(index) };
}
