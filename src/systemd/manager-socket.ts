/**
 * Messages to the service manager that must arrive, in order, some of them with descriptors. When the manager's queue
 * is full, the sender waits. Plain messages go through notify.ts, which uses this file only when the queue is full.
 */
import { constants } from "node:os";
import { BerthError, check } from "../errors.ts";
import { FdHandle } from "../fd.ts";
import { type Native, type Poll, READABLE } from "../native.ts";
import { AF_UNIX, encodeSockaddr, UNIX_PATH_MAX, type UnixAddress } from "../net/address.ts";
import { POLLIN, POLLOUT } from "../net/socket-constants.ts";
import { socketPair } from "../net/socket-queries.ts";
import { SOCK_DGRAM } from "../net/transport.ts";

const { EAGAIN } = constants.errno;
/** An unprivileged user has too many descriptors in flight (hazard 5). Node has no name for this errno. */
const ETOOMANYREFS = 109;

/** How long a message waits for room in the queue. The event loop is blocked meanwhile. */
const SEND_TIMEOUT_MS = 2000;
/** The pause before the next attempt after ETOOMANYREFS (unix(7)). */
const RETRY_PAUSE_MS = 5;

/** The service manager's address in $NOTIFY_SOCKET. Undefined if unset; a sentence if the address cannot be used. */
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

  /** Sends one message; the descriptors are borrowed. Throws a {@link BerthError} after SEND_TIMEOUT_MS. */
  send(state: string, fds: readonly number[] = []): void {
    const sys = this.#sys;
    using socket = FdHandle.adopt(check("socket", sys.socket(AF_UNIX, SOCK_DGRAM, 0)), sys);
    check("connect", sys.connect(socket.fd, encodeSockaddr(this.address)), this.#name);
    const bytes = Buffer.from(state);
    const deadline = performance.now() + SEND_TIMEOUT_MS;
    for (;;) {
      const sent = sys.sendmsg(socket.fd, bytes, 0, Int32Array.from(fds), fds.length);
      const left = Math.ceil(deadline - performance.now());
      if (sent !== -EAGAIN && sent !== -ETOOMANYREFS) return void check("sendmsg", sent, this.#name);
      if (left <= 0) throw new BerthError("SYSTEM_ERROR", `${this.#name} took no message for ${SEND_TIMEOUT_MS} ms`);
      sys.pollFor(socket.fd, sent === -EAGAIN ? POLLOUT : 0, sent === -EAGAIN ? left : RETRY_PAUSE_MS);
    }
  }

  /**
   * Blocks until the manager has read every earlier message (sd_notify_barrier(3)). The event loop is blocked too.
   * Returns false after `timeoutMs`.
   */
  barrierSync(timeoutMs: number): boolean {
    using ours = this.#sendBarrier();
    return this.#sys.pollFor(ours.fd, POLLIN, timeoutMs) > 0;
  }

  /** As {@link barrierSync}, without blocking the event loop. */
  async barrier(timeoutMs: number): Promise<boolean> {
    using ours = this.#sendBarrier();
    let poll: Poll | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve) => {
        timer = setTimeout(() => resolve(false), timeoutMs);
        poll = new this.#sys.Poll(ours.fd, () => resolve(true));
        if (poll.start(READABLE) < 0) resolve(false);
      });
    } finally {
      clearTimeout(timer);
      poll?.close();
    }
  }

  /** Sends one end of a socket pair, alone in its message (hazard 39). When the manager closes it, our end hangs up. */
  #sendBarrier(): FdHandle {
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
