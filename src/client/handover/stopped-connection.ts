/**
 * A TCP connection of Node that reads no more, so that another process can go on with it. Node has no public way to
 * stop its reading: a paused net.Socket still reads ahead. This uses the stream's handle, as net.Socket itself does.
 */
import type { Socket } from "node:net";

/** What net.Socket keeps in `_handle`: TCP of Node's tcp_wrap. */
interface StreamHandle {
  readonly fd: number;
  reading: boolean;
  readStart(): number;
  readStop(): number;
}

export class StoppedConnection {
  readonly socket: Socket;
  /** What Node has read from the connection, and the program has not. */
  readonly unread: Buffer;
  readonly #handle: StreamHandle;
  readonly #wasFlowing: boolean;

  private constructor(socket: Socket, handle: StreamHandle) {
    this.socket = socket;
    this.#handle = handle;
    this.#wasFlowing = socket.readableFlowing === true;
    socket.pause();
    this.unread = takeUnread(socket);
    // After the last read(), which would begin to read again.
    handle.reading = false;
    handle.readStop();
  }

  /**
   * Stops the reading at once. Undefined if nobody else can go on with the connection: it is not TCP, it uses TLS, one
   * of its sides has ended, or it decodes text (`setEncoding`), where a part of a character may be kept.
   */
  static stop(socket: Socket): StoppedConnection | undefined {
    const handle = handleOf(socket);
    const isPlain = socket.remoteFamily !== undefined && !("encrypted" in socket) && socket.readableEncoding === null;
    const isOpen = !socket.connecting && !socket.readableEnded && socket.writable;
    return handle !== undefined && isPlain && isOpen ? new StoppedConnection(socket, handle) : undefined;
  }

  /** The descriptor, borrowed from Node. Undefined once the connection was closed. */
  get fd(): number | undefined {
    const { fd } = this.#handle;
    return this.socket.destroyed || fd < 0 ? undefined : fd;
  }

  /** Resolves with true when the kernel has all that the program has written; with false after `ms`, or when closed. */
  async written(ms: number): Promise<boolean> {
    const { socket } = this;
    if (socket.writableLength === 0) return !socket.destroyed;
    return await new Promise((resolve) => {
      const end = (isWritten: boolean): void => {
        clearTimeout(late);
        socket.off("close", closed);
        resolve(isWritten);
      };
      const closed = (): void => end(false);
      const late = setTimeout(closed, ms);
      socket.once("close", closed);
      // Nothing, after everything else.
      socket.write("", (error) => end(error === undefined || error === null));
    });
  }

  /** Goes on here, as if it had never stopped. */
  resume(): void {
    const { socket } = this;
    if (this.fd === undefined) return;
    if (this.unread.length > 0) socket.unshift(this.unread);
    this.#handle.reading = true;
    this.#handle.readStart();
    if (this.#wasFlowing) socket.resume();
  }
}

/** Takes what Node has read ahead. The program's listeners do not get it: it is for the successor. */
function takeUnread(socket: Socket): Buffer {
  const listeners = socket.rawListeners("data");
  socket.removeAllListeners("data");
  const chunks: Buffer[] = [];
  for (let chunk: unknown = socket.read(); Buffer.isBuffer(chunk); chunk = socket.read()) chunks.push(chunk);
  for (const listener of listeners) Reflect.apply(socket.on, socket, ["data", listener]);
  return Buffer.concat(chunks);
}

function handleOf(socket: Socket): StreamHandle | undefined {
  const handle: unknown = Reflect.get(socket, "_handle");
  return isStreamHandle(handle) ? handle : undefined;
}

function isStreamHandle(handle: unknown): handle is StreamHandle {
  if (typeof handle !== "object" || handle === null) return false;
  const [fd, stop] = [Reflect.get(handle, "fd"), Reflect.get(handle, "readStop")];
  return typeof fd === "number" && fd >= 0 && typeof stop === "function";
}
