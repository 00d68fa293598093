/** Calls of plans in the form that the guard carries out, and its results in the form that plans get. Pure. */
import type { GuardCall, GuardResult } from "../guard/guard.ts";
import type { PlannedCall, SocketResult } from "./socket-call.ts";

const WORD = Int32Array.BYTES_PER_ELEMENT;
const NO_WORDS = new Int32Array(0);

/** The call on the descriptor at `index`. */
export function guardCall(call: PlannedCall, index: number): GuardCall {
  switch (call.call) {
    case "getsockopt":
      return { call: "getsockopt", index, level: call.level, option: call.option, room: call.words * WORD };
    case "setsockopt":
      return { ...call, index, value: typeof call.value === "number" ? wordOf(call.value) : call.value };
    case "connect":
      return { call: "connect", index, address: call.sockaddr };
    case "bind":
      return { call: "bind", index, address: call.sockaddr };
    case "batch":
      return { call: "batch", index, batch: call.batch.bytes };
    default:
      return { ...call, index };
  }
}

/** What came of it. */
export function socketResult(call: PlannedCall, result: GuardResult | undefined): SocketResult {
  if (result === undefined) throw new Error("a guard gives as many results as it was asked for");
  const { value, bytes } = result;
  if (value < 0 || bytes.length === 0) return { result: value, value: wordsOf(call, bytes) };
  const isName = call.call === "getsockname" || call.call === "getpeername";
  return { result: isName ? bytes.length : value, value: wordsOf(call, bytes) };
}

function wordOf(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

/** As many words as were asked for: what the kernel did not fill is 0. */
function wordsOf(call: PlannedCall, bytes: Uint8Array): Int32Array {
  const words = call.call === "getsockopt" ? call.words : Math.ceil(bytes.length / WORD);
  if (words === 0) return NO_WORDS;
  // Results begin at whole words.
  if (bytes.length === words * WORD) return new Int32Array(bytes.buffer, bytes.byteOffset, words);
  const padded = new Uint8Array(words * WORD);
  padded.set(bytes.subarray(0, padded.length));
  return new Int32Array(padded.buffer);
}
