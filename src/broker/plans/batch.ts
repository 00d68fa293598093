/**
 * Many calls that are made again and again, on sockets of one kind. The guard gets them as bytes that are made once,
 * with the results that are expected. It nearly always finds these, and then answers with one word. It decides nothing.
 */
import { decodeResults, encodeBatch } from "../guard/protocol.ts";
import { guardCall, socketResult } from "./guard-calls.ts";
import type { SocketCall, SocketResult } from "./socket-call.ts";

const NOTHING = new Uint8Array(0);

/** What a batch gives that found the expected results. */
const AS_EXPECTED = 1;

export class Batch {
  readonly calls: readonly SocketCall[];
  #expected = NOTHING;
  /** With what is expected, for the guard. */
  #bytes: Uint8Array;

  constructor(calls: readonly SocketCall[]) {
    this.calls = calls;
    this.#bytes = this.#encode();
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Whether the guard found what was expected. */
  isExpected(result: SocketResult | undefined): boolean {
    return result?.result === AS_EXPECTED;
  }

  /** The results of all calls. */
  read(result: SocketResult | undefined): readonly SocketResult[] {
    const bytes = this.isExpected(result) ? this.#expected : bytesOf(result);
    const results = decodeResults(bytes, this.calls.length);
    return this.calls.map((call, index) => socketResult(call, results?.[index]));
  }

  /** Expects the same results from now on. */
  expect(result: SocketResult | undefined): void {
    if (this.isExpected(result)) return;
    this.#expected = bytesOf(result).slice();
    this.#bytes = this.#encode();
  }

  /** Expects nothing: the next results are told. */
  forget(): void {
    this.#expected = NOTHING;
    this.#bytes = this.#encode();
  }

  #encode(): Uint8Array {
    return encodeBatch(
      this.calls.map((call) => guardCall(call, 0)),
      this.#expected,
    );
  }
}

function bytesOf(result: SocketResult | undefined): Uint8Array {
  if (result === undefined) return NOTHING;
  const { buffer, byteOffset, byteLength } = result.value;
  return new Uint8Array(buffer, byteOffset, byteLength);
}
