/** gRPC's frames: each message with a flag and its length in front of it. Pure. */

const HEAD_BYTES = 5;
/** All keys of a kind come as one message: 100,000 placements are some 30 MB. */
export const MAX_MESSAGE_BYTES: number = 256 * 2 ** 20;

export class MalformedFrame extends Error {}

export function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The messages of a stream that comes in pieces. */
export class Deframer {
  readonly #most: number;
  #pieces: Buffer[] = [];
  #length = 0;

  /** `most`: the bytes of the longest message. */
  constructor(most: number = MAX_MESSAGE_BYTES) {
    this.#most = most;
  }

  /** The messages that are complete with this piece. Throws {@link MalformedFrame}. */
  push(piece: Buffer): Buffer[] {
    this.#pieces.push(piece);
    this.#length += piece.length;
    const messages: Buffer[] = [];
    for (let message = this.#next(); message !== undefined; message = this.#next()) messages.push(message);
    return messages;
  }

  #next(): Buffer | undefined {
    if (this.#length < HEAD_BYTES) return undefined;
    const [first] = this.#pieces;
    if (first === undefined || first.length < HEAD_BYTES) this.#pieces = [Buffer.concat(this.#pieces)];
    const head = this.#pieces[0] ?? Buffer.alloc(HEAD_BYTES);
    const length = head.readUInt32BE(1);
    if (head[0] !== 0) throw new MalformedFrame("is compressed, which was not asked for");
    if (length > this.#most) throw new MalformedFrame(`has ${length} bytes; ${this.#most} is the most`);
    if (this.#length < HEAD_BYTES + length) return undefined;
    const all = this.#pieces.length === 1 ? head : Buffer.concat(this.#pieces);
    const rest = all.subarray(HEAD_BYTES + length);
    this.#pieces = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
    return all.subarray(HEAD_BYTES, HEAD_BYTES + length);
  }
}
