/**
 * Lets a peer's descriptors through, or keeps them out. They are received by a guard process, and a stranger cannot
 * even send any: the kernel refuses (SO_PASSRIGHTS, Linux 6.16).
 */
import type { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";
import { SO_PASSRIGHTS, SOL_SOCKET } from "../../net/socket-constants.ts";
import type { DescriptorGate, GatedRead } from "../../wire.ts";
import type { Guard } from "../guard/guard.ts";
import { refusedOf } from "../guard/protocol.ts";

/** Descriptors taken of one message. No method takes more than one; a message with more of them is answered so. */
const MAX_DESCRIPTORS = 8;

export interface PeerGateOptions {
  readonly guard: Guard;
  readonly uid: number;
  /** Whether the kernel keeps descriptors out until the gate is opened. */
  readonly keptOut: boolean;
  readonly sys: Native;
}

export class PeerGate implements DescriptorGate {
  readonly #options: PeerGateOptions;
  #isOpen: boolean;

  constructor(options: PeerGateOptions) {
    this.#options = options;
    this.#isOpen = !options.keptOut;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Lets descriptors come to the socket from now on. Idempotent. */
  open(socket: number): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#options.sys.setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, 1);
  }

  async read(socket: number): Promise<GatedRead | undefined> {
    const { guard, uid } = this.#options;
    const message = await guard.receive(uid, socket, "frame", MAX_DESCRIPTORS);
    if (message === undefined) return undefined;
    message.pidfd?.close();
    return { size: message.size, bytes: message.bytes, fds: message.fds, refused: refusedOf(message) };
  }

  close(socket: FdHandle): void {
    this.#options.guard.close(this.#options.uid, socket.steal());
  }
}
