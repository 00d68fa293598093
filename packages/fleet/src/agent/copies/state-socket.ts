/**
 * The program beside the agent that reads and replaces the files of berths, and makes images: the agent has no right
 * to. One request for each connection to its UNIX socket: a line of JSON, then the content in frames. A frame is a
 * length (32 bits, big-endian) and so many bytes; a length of 0 ends the content.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { Fault } from "../../fault.ts";
import { Fields, fromJson, list, type Reader, text } from "../../model/fields.ts";
import { bytes, type ImageTree, imageTree } from "../../model/host.ts";

export type StateRequest =
  | { readonly method: "Save"; readonly berth: string; readonly live: boolean }
  | { readonly method: "Restore"; readonly berth: string }
  | { readonly method: "ExportImage"; readonly image: string; readonly version: string }
  /** `digest`: of the tree that is wanted. Absent: any. */
  | { readonly method: "ImportImage"; readonly image: string; readonly version: string; readonly digest?: string }
  | { readonly method: "ListImages" };

/** What a host has of images. */
export interface ImageList {
  /** Where they are. */
  readonly folder: string;
  /** Bytes that are free there. */
  readonly room: number;
  readonly images: readonly ImageTree[];
}

const LONGEST_LINE = 64 * 1024;
const LONGEST_LIST = 4 * 1024 * 1024;
const LONGEST_FRAME = 64 * 1024 * 1024;
/** To give many files to other owners takes minutes in which nothing is sent. */
const IDLE_MS = 15 * 60_000;

export class StateSocket {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * The content that a request gets. It throws STATE_REFUSED also in the middle: it is whole only if it ends. To end
   * it early closes the connection. Throws STATE_REFUSED.
   */
  async *download(request: StateRequest, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
    using connection = await Connection.open(this.#path, request, signal);
    accept(await connection.line());
    for (let length = await connection.length(); length > 0; length = await connection.length())
      for (let left = length; left > 0; ) {
        const piece = await connection.some(left);
        left -= piece.length;
        yield piece;
      }
    accept(await connection.line());
    await connection.end();
  }

  /** Whether the host has the version of an image. Throws STATE_REFUSED if that cannot be known. */
  async hasImage(image: string, version: string, signal: AbortSignal): Promise<boolean> {
    using connection = await Connection.open(this.#path, { method: "ExportImage", image, version }, signal);
    const answer = await connection.line();
    if (answer.code === "IMAGE_ABSENT") return false;
    accept(answer);
    return true;
  }

  /** Throws STATE_REFUSED, also by a program that is older than we are. */
  async images(signal: AbortSignal): Promise<ImageList> {
    const pieces: Buffer[] = [];
    let length = 0;
    for await (const piece of this.download({ method: "ListImages" }, signal)) {
      length += piece.length;
      if (length > LONGEST_LIST) throw new Fault("STATE_REFUSED", "its list of images is too long");
      pieces.push(piece);
    }
    return fromJson(Buffer.concat(pieces).toString(), imageList, "the list of images");
  }

  /** Throws STATE_REFUSED if the program does not serve this agent. It gets a question that changes nothing. */
  async check(signal: AbortSignal): Promise<void> {
    await this.hasImage("none", "0", signal);
  }

  /**
   * Throws STATE_REFUSED, BAD_ARCHIVE if it is not the image that is wanted, and what the content throws: then nothing
   * has changed. An image that is there already is no failure.
   */
  async upload(request: StateRequest, content: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    using connection = await Connection.open(this.#path, request, signal);
    const answered = connection.line();
    // It may refuse before it has read everything, and then the rest has no reader.
    const sent = connection.send(content, answered.then(noop, noop)).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const failed = await sent;
    if (failed !== undefined && !isBroken(failed.error)) {
      connection[Symbol.dispose]();
      await answered.catch(noop);
      throw failed.error;
    }
    const answer = await answered;
    // Another move has brought the version meanwhile, and nobody replaces one.
    if (request.method === "ImportImage" && answer.code === "IMAGE_IN_USE") return;
    if (answer.code === "IMPORT_FAILED") throw new Fault("BAD_ARCHIVE", answer.error);
    accept(answer);
    if (failed !== undefined) throw failed.error;
    await connection.end();
  }
}

const imageList: Reader<ImageList> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    folder: fields.get("folder", text(/^\//, "an absolute path")),
    room: fields.get("room", bytes),
    images: fields.get("images", list(imageTree)),
  };
};

interface Answer {
  readonly ok: boolean;
  readonly error: string;
  /** Of berthd. Empty: it has none. */
  readonly code: string;
}

function accept({ ok, error }: Answer): void {
  if (!ok) throw new Fault("STATE_REFUSED", error);
}

const noop = (): void => undefined;

/** The other side has gone; its answer, if there is one, says why. */
function isBroken(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "EPIPE" || error.code === "ECONNRESET");
}

class Connection implements Disposable {
  readonly #socket: Socket;
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #signal: AbortSignal;
  readonly #abort: () => void;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    this.#signal = signal;
    this.#pieces = socket[Symbol.asyncIterator]();
    this.#abort = () => socket.destroy(new Fault("STATE_REFUSED", "the copy was ended"));
    signal.addEventListener("abort", this.#abort);
    socket.on("error", noop); // The next read or write throws it, too.
    socket.setTimeout(IDLE_MS, () => socket.destroy(new Fault("STATE_REFUSED", "it did not answer in time")));
  }

  static async open(path: string, request: StateRequest, signal: AbortSignal): Promise<Connection> {
    signal.throwIfAborted();
    const socket = connect(path);
    try {
      await once(socket, "connect", { signal });
    } catch (error) {
      socket.destroy();
      signal.throwIfAborted();
      const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
      throw new Fault(
        "STATE_REFUSED",
        `cannot connect to ${path}: ${why}; start the program that --state-socket names`,
        {
          cause: error,
        },
      );
    }
    const connection = new Connection(socket, signal);
    socket.write(`${JSON.stringify(request)}\n`);
    return connection;
  }

  async line(): Promise<Answer> {
    for (;;) {
      const end = this.#rest.indexOf(0x0a);
      if (end >= 0) {
        const text = this.#rest.toString("utf8", 0, end);
        this.#rest = this.#rest.subarray(end + 1);
        return answerIn(text);
      }
      if (this.#rest.length > LONGEST_LINE) throw new Fault("STATE_REFUSED", "its answer is too long");
      this.#rest = Buffer.concat([this.#rest, await this.#next()]);
    }
  }

  async length(): Promise<number> {
    while (this.#rest.length < 4) this.#rest = Buffer.concat([this.#rest, await this.#next()]);
    const length = this.#rest.readUInt32BE(0);
    this.#rest = this.#rest.subarray(4);
    if (length > LONGEST_FRAME) throw new Fault("STATE_REFUSED", `a frame has ${length} bytes`);
    return length;
  }

  /** At least one byte, at most so many. */
  async some(most: number): Promise<Buffer> {
    if (this.#rest.length === 0) this.#rest = await this.#next();
    const piece = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(piece.length);
    return piece;
  }

  /** Resolves when the other side has closed: the program has ended, and holds nothing any more. */
  async end(): Promise<void> {
    const { done } = this.#rest.length > 0 ? { done: false } : await this.#pieces.next();
    if (!done) throw new Fault("STATE_REFUSED", "it sends more than it has announced");
  }

  async send(content: AsyncIterable<Buffer>, stopped: Promise<void>): Promise<void> {
    let isStopped = false;
    void stopped.then(() => {
      isStopped = true;
    });
    const write = async (bytes: Buffer): Promise<void> => {
      if (this.#socket.destroyed) throw Object.assign(new Error("the connection is closed"), { code: "EPIPE" });
      if (this.#socket.write(bytes)) return;
      const over = new AbortController();
      const { signal } = over;
      const events = ["drain", "close"].map((event) => once(this.#socket, event, { signal }));
      await Promise.race([...events, stopped]).finally(() => over.abort());
    };
    for await (const piece of content) {
      if (isStopped) return;
      if (piece.length === 0) continue;
      const length = Buffer.alloc(4);
      length.writeUInt32BE(piece.length);
      await write(length);
      await write(piece);
    }
    if (!isStopped) await write(Buffer.alloc(4));
  }

  async #next(): Promise<Buffer> {
    try {
      const { value, done } = await this.#pieces.next();
      if (!done) return value;
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof Fault) throw error;
      throw new Fault("STATE_REFUSED", `the connection has broken: ${error}`, { cause: error });
    }
    this.#signal.throwIfAborted();
    throw new Fault("STATE_REFUSED", "it has closed the connection without an answer");
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener("abort", this.#abort);
    this.#socket.destroy();
  }
}

function answerIn(text: string): Answer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && "ok" in value) {
    if (value.ok === true) return { ok: true, error: "", code: "" };
    if (value.ok === false && "error" in value && typeof value.error === "string")
      return { ok: false, error: value.error, code: "code" in value ? String(value.code) : "" };
  }
  throw new Fault("STATE_REFUSED", `its answer is none: ${text.slice(0, 100)}`);
}
