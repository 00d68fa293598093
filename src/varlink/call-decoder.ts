/** Decodes the calls of one connection. A client often makes the same call again, so the last short one is kept. */
import type { JsonLimit } from "./json.ts";
import { type CallMessage, decodeText, readCall } from "./message.ts";

/** Only a call of at most so many characters is kept. */
const SHORT = 256;

export class CallDecoder {
  readonly #limit: JsonLimit | undefined;
  #text: string | undefined;
  #call: CallMessage | undefined;

  /** `limit`: how many values a call may have. Default: any number. */
  constructor(limit?: JsonLimit) {
    this.#limit = limit;
  }

  /** Decodes the first `length` bytes as a call, or says in a sentence why they are none. */
  decode(bytes: Buffer, length: number): CallMessage | string {
    const text = bytes.toString(undefined, 0, length);
    if (this.#call !== undefined && text === this.#text) return this.#call;
    const object = decodeText(text, bytes, length, this.#limit);
    if (typeof object === "string") return object;
    const call = readCall(object);
    // Other bytes, which are no UTF-8, have the same text as a replacement character.
    if (typeof call === "string" || length > SHORT || text.includes("\uFFFD")) return call;
    this.#text = text;
    this.#call = call;
    return call;
  }
}
