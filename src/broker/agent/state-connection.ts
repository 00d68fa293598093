/**
 * One connection of an OCI runtime, which brings one container process state and the seccomp listener. The runtime may
 * keep the connection open, so the state ends where its JSON does. A guard process receives all of it. Nothing is sent.
 */
import { constants } from "node:os";
import { closeAll, type FdHandle } from "../../fd.ts";
import { type Native, type Poll, READABLE } from "../../native.ts";
import { decodeObject, type JsonObject } from "../../varlink/json.ts";
import type { Peer } from "../access/peer.ts";
import type { Guard } from "../guard/guard.ts";
import { refusedOf } from "../guard/protocol.ts";

const { EAGAIN } = constants.errno;

/** A state is some hundred bytes, and the annotations of the container. */
const MAX_BYTES = 64 * 1024;
const MAX_VALUES = 4096;
/** Parts in which it may come. Each is parsed with those before it. */
const MAX_PARTS = 16;
/** Descriptors that are taken: the specification allows others beside the listener. */
const MAX_FDS = 4;

/** What has come. Who gets it owns the descriptors. */
export interface StateMessage {
  readonly state: JsonObject;
  readonly fds: readonly FdHandle[];
}

export interface StateConnectionOptions {
  readonly sys: Native;
  readonly guard: Guard;
  /** Milliseconds in which the state must arrive. */
  readonly deadline: number;
  /** Called once, with the message, or with why there is none. Never after {@link StateConnection.close}. */
  readonly onMessage: (message: StateMessage | string) => void;
}

export class StateConnection {
  readonly peer: Peer;
  readonly #handle: FdHandle;
  readonly #options: StateConnectionOptions;
  readonly #poll: Poll;
  readonly #timer: NodeJS.Timeout;
  #text = Buffer.alloc(0);
  #fds: FdHandle[] = [];
  #parts = 0;
  /** Why what has come is not enough. */
  #lack = "nothing came";
  #isTold = false;

  /** Owns the connection. */
  constructor(handle: FdHandle, peer: Peer, options: StateConnectionOptions) {
    this.peer = peer;
    this.#handle = handle;
    this.#options = options;
    const late = (): void => this.#fail(`it sent no whole container state in time: ${this.#lack}`);
    this.#timer = setTimeout(late, options.deadline).unref();
    this.#poll = new options.sys.Poll(handle.fd, () => void this.#read());
    this.#poll.start(READABLE);
  }

  /** Idempotent. What the runtime has sent and nobody has read is closed by a guard process. */
  close(): void {
    if (!this.#handle.open) return;
    this.#isTold = true;
    clearTimeout(this.#timer);
    this.#poll.close();
    closeAll(this.#fds.splice(0));
    this.#options.guard.close(this.peer.uid, this.#handle.steal());
  }

  async #read(): Promise<void> {
    this.#poll.start(0);
    const message = await this.#options.guard.receive(this.peer.uid, this.#handle.fd, "frame", MAX_FDS);
    message?.pidfd?.close();
    if (this.#isTold) return closeAll(message?.fds ?? []);
    if (message === undefined) return this.#fail("no guard process can be had to receive its descriptors");
    if (message.size === -EAGAIN) return void this.#poll.start(READABLE);
    this.#fds.push(...message.fds);
    if (refusedOf(message).length > 0) return this.#fail("it sent a descriptor that is no seccomp listener");
    if (message.size <= 0) return this.#fail("it sent no whole container state");
    this.#text = Buffer.concat([this.#text, message.bytes]);
    this.#parse();
  }

  #parse(): void {
    const text = this.#text.toString("utf8").replaceAll("\0", " ").trim();
    const state = text.endsWith("}") ? decodeObject(text, { values: MAX_VALUES }) : "it is not complete";
    if (typeof state !== "string") return this.#tell({ state, fds: this.#fds.splice(0) });
    if (!text.startsWith("{")) return this.#fail("it is no JSON object");
    this.#lack = state;
    const isFull = ++this.#parts >= MAX_PARTS || this.#text.length >= MAX_BYTES || this.#fds.length > MAX_FDS;
    if (isFull) return this.#fail(`its container state is refused: ${state}`);
    this.#poll.start(READABLE);
  }

  #fail(why: string): void {
    closeAll(this.#fds.splice(0));
    this.#tell(why);
  }

  #tell(message: StateMessage | string): void {
    if (this.#isTold) return;
    this.#isTold = true;
    clearTimeout(this.#timer);
    this.#options.onMessage(message);
  }
}
