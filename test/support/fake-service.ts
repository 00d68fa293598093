/** A Varlink service on a socketpair or a path that answers exactly what a test tells it to. */
import { unlinkSync } from "node:fs";
import { borrow, FdHandle } from "../../src/fd.ts";
import { native, READABLE } from "../../src/native.ts";
import { Wire } from "../../src/wire.ts";
import { boundSocket } from "./sockets.ts";

export type Message = Record<string, unknown>;

/** One connection, seen from the service. The fds of calls are closed. */
export class FakeConnection {
  readonly calls: Message[] = [];
  readonly fdCounts: number[] = [];
  closed = false;
  readonly wire: Wire;
  readonly #waiting: (() => void)[] = [];

  constructor(socket: FdHandle, onCall: (call: Message, connection: FakeConnection) => void = () => undefined) {
    this.wire = new Wire(
      socket,
      {
        onMessage: (bytes, length, fds) => {
          const call = JSON.parse(bytes.toString("utf8", 0, length)) as Message;
          this.calls.push(call);
          this.fdCounts.push(fds.length);
          for (const handle of fds) handle.close();
          onCall(call, this);
          this.#wake();
        },
        onClosed: () => {
          this.closed = true;
          this.#wake();
        },
      },
      { framing: "nul", deadline: 0 },
    );
  }

  reply(message: unknown, fds: readonly FdHandle[] = []): void {
    this.raw(`${JSON.stringify(message)}\0`, fds);
  }

  raw(bytes: string | Buffer, fds: readonly FdHandle[] = []): void {
    this.wire.send(Buffer.from(bytes), borrow(fds));
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** A listening fake at `path`; every connection answers with `onCall`. */
export class FakeService implements Disposable {
  readonly connections: FakeConnection[] = [];
  readonly #socket: FdHandle;
  readonly #path: string;
  readonly #poll: InstanceType<typeof native.Poll>;

  constructor(path: string, onCall: (call: Message, connection: FakeConnection) => void) {
    this.#path = path;
    this.#socket = boundSocket(`unix://${path}`, 16);
    this.#poll = new native.Poll(this.#socket.fd, () => {
      const fd = native.accept(this.#socket.fd);
      if (fd >= 0) this.connections.push(new FakeConnection(FdHandle.adopt(fd), onCall));
    });
    this.#poll.start(READABLE);
  }

  [Symbol.dispose](): void {
    this.#poll.close();
    this.#socket.close();
    for (const { wire } of this.connections) wire.close();
    if (!this.#path.startsWith("@")) unlinkSync(this.#path);
  }
}
