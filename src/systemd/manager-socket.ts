/**
 * Messages to the service manager's socket that must arrive: with descriptors, in order, and when its queue is full,
 * by waiting for it. Plain ones go by notify.ts, which turns here only when they find no room.
 */
import { constants } from "node:os";
import { AF_UNIX, encodeSockaddr, UNIX_PATH_MAX, type UnixAddress } from "../address.ts";
import { BerthError, check } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import { type Native, type Poll, READABLE } from "../native.ts";
import { POLLIN, POLLOUT } from "../socket-constants.ts";
import { socketPair } from "../socket-queries.ts";
import { SOCK_DGRAM } from "../transport.ts";

const { EAGAIN } = constants.errno;
/** Too many descriptors on their way at once for a user without privilege; Node has no name for it (hazard 5). */
const ETOOMANYREFS = 109;

/** How long a message waits for room, in milliseconds: the event loop waits with it. */
const PATIENCE = 2000;
/** How long to leave a kernel alone that counts too many descriptors on their way (unix(7)), in milliseconds. */
const PAUSE = 5;

/** Where $NOTIFY_SOCKET says the service manager listens: undefined when nobody does, or a sentence why it cannot be used. */
export function managerAddress(env: NodeJS.ProcessEnv): UnixAddress | string | undefined {
  const text = env["NOTIFY_SOCKET"];
  if (text === undefined || text === "") return undefined;
  const abstract = text.startsWith("@");
  if (!abstract && !text.startsWith("/")) {
    return `NOTIFY_SOCKET is ${JSON.stringify(text)}: only a path or an @name can be notified, vsock and others not`;
  }
  const path = abstract ? text.slice(1) : text;
  if (Buffer.byteLength(path) > UNIX_PATH_MAX)
    return `NOTIFY_SOCKET is longer than the ${UNIX_PATH_MAX} bytes of a path`;
  return { family: "unix", path, abstract };
}

export class ManagerSocket {
  readonly address: UnixAddress;
  readonly #sys: Native;

  constructor(address: UnixAddress, sys: Native) {
    this.address = address;
    this.#sys = sys;
  }

  /** Sends one message; the descriptors are borrowed. Throws {@link BerthError} when it could not be sent in time. */
  send(state: string, fds: readonly number[] = []): void {
    const sys = this.#sys;
    using socket = FdHandle.adopt(check("socket", sys.socket(AF_UNIX, SOCK_DGRAM, 0)), sys);
    check("connect", sys.connect(socket.fd, encodeSockaddr(this.address)), this.#name);
    const bytes = Buffer.from(state);
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const sent = sys.sendmsg(socket.fd, bytes, 0, Int32Array.from(fds), fds.length);
      const left = Math.ceil(deadline - performance.now());
      if (sent !== -EAGAIN && sent !== -ETOOMANYREFS) return void check("sendmsg", sent, this.#name);
      if (left <= 0) throw new BerthError("SYSTEM_ERROR", `${this.#name} took no message for ${PATIENCE} ms`);
      sys.pollFor(socket.fd, sent === -EAGAIN ? POLLOUT : 0, sent === -EAGAIN ? left : PAUSE);
    }
  }

  /**
   * Waits until every message sent before has been dealt with (sd_notify_barrier(3)); the event loop waits with it.
   * Returns whether that was so within `milliseconds`.
   */
  settle(milliseconds: number): boolean {
    using ours = this.#barrier();
    return this.#sys.pollFor(ours.fd, POLLIN, milliseconds) > 0;
  }

  /** As {@link settle}, while the event loop turns. */
  async settled(milliseconds: number): Promise<boolean> {
    using ours = this.#barrier();
    let poll: Poll | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve) => {
        timer = setTimeout(() => resolve(false), milliseconds);
        poll = new this.#sys.Poll(ours.fd, () => resolve(true));
        if (poll.start(READABLE) < 0) resolve(false);
      });
    } finally {
      clearTimeout(timer);
      poll?.close();
    }
  }

  /** The manager closes the descriptor it is sent, alone in its message (hazard 39), and the other end, ours, hangs up. */
  #barrier(): FdHandle {
    const [ours, end] = socketPair("stream", this.#sys);
    using theirs = end;
    try {
      this.send("BARRIER=1", [theirs.fd]);
      return ours;
    } catch (error) {
      ours.close();
      throw error;
    }
  }

  get #name(): string {
    return `${this.address.abstract ? "@" : ""}${this.address.path}`;
  }
}
