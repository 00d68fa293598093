/** A peer in this process that sends whatever a test wants: bytes and descriptors, well formed or not. */
import { check } from "../../src/errors.ts";
import { closeAll, FdHandle } from "../../src/fd.ts";
import { native, READABLE, RECEIVED_LENGTH, WRITABLE } from "../../src/native.ts";
import { connectUnix } from "../../src/varlink/connect.ts";
import type { RawReply } from "./puppet.ts";

export class RawPeer implements Disposable {
  readonly #handle: FdHandle;
  #buffer: Buffer = Buffer.alloc(0);
  /** Descriptors that have come, the peer's own. */
  readonly fds: FdHandle[] = [];

  private constructor(handle: FdHandle) {
    this.#handle = handle;
  }

  /** Connects; with `uid`, as a peer of that user: SO_PEERCRED tells the effective one at connect (needs root). */
  static async connect(socket: string, uid?: number): Promise<RawPeer> {
    if (uid === undefined) return new RawPeer(await connectUnix(socket));
    process.seteuid?.(uid);
    try {
      return new RawPeer(await connectUnix(socket));
    } finally {
      process.seteuid?.(0);
    }
  }

  /** As {@link connect}, and has had an answer: a peer with privilege or a lease may send descriptors then. */
  static async known(socket: string, uid?: number): Promise<RawPeer> {
    const peer = await RawPeer.connect(socket, uid);
    await peer.send(`${JSON.stringify({ method: "org.varlink.service.GetInfo" })}\0`);
    await peer.receive();
    return peer;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  /** One sendmsg(2) of what the kernel takes at once. Returns the bytes taken, or -errno. */
  trySend(data: string | Uint8Array, fds: readonly number[] = []): number {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    return native.sendmsg(this.fd, bytes, 0, Int32Array.from(fds), fds.length);
  }

  /** Sends everything, descriptors with the first byte; false when the broker has closed the connection. */
  async send(data: string | Uint8Array, fds: readonly number[] = []): Promise<boolean> {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let at = 0; at < bytes.length; ) {
      const now = at === 0 ? fds : [];
      const sent = native.sendmsg(this.fd, bytes, at, Int32Array.from(now), now.length);
      if (sent >= 0) at += sent;
      else if (sent === -11) await ready(this.fd, WRITABLE);
      else return false;
    }
    return true;
  }

  /** The next reply; undefined when the broker has closed the connection. */
  async receive(): Promise<RawReply | undefined> {
    const received = new Int32Array(RECEIVED_LENGTH);
    const chunk = Buffer.alloc(65_536);
    for (;;) {
      const end = this.#buffer.indexOf(0);
      if (end >= 0) {
        const reply = JSON.parse(this.#buffer.toString("utf8", 0, end)) as RawReply;
        this.#buffer = this.#buffer.subarray(end + 1);
        return reply;
      }
      const size = native.recvmsg(this.fd, chunk, 0, received);
      if (size === -11) await ready(this.fd, READABLE);
      else if (size <= 0) return undefined;
      else {
        for (const fd of received.subarray(2, 2 + (received[0] ?? 0))) this.fds.push(FdHandle.adopt(fd));
        this.#buffer = Buffer.concat([this.#buffer, chunk.subarray(0, size)]);
      }
    }
  }

  /** All replies until the broker closes. */
  async receiveAll(): Promise<RawReply[]> {
    const replies: RawReply[] = [];
    for (let reply = await this.receive(); reply !== undefined; reply = await this.receive()) replies.push(reply);
    return replies;
  }

  async call(method: string, parameters: object = {}, fds: readonly number[] = []): Promise<RawReply | undefined> {
    await this.send(frame(method, parameters), fds);
    return await this.receive();
  }

  close(): void {
    this.#handle.close();
    closeAll(this.fds);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The bytes of a call of io.berthd.Broker. */
export function frame(method: string, parameters: object = {}, flags: object = {}): string {
  return `${JSON.stringify({ method: `io.berthd.Broker.${method}`, parameters, ...flags })}\0`;
}

async function ready(fd: number, events: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const poll = new native.Poll(fd, () => {
      poll.close();
      resolve();
    });
    check("poll", poll.start(events));
  });
}
