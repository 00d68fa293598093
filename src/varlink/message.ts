/** The Varlink messages as bytes: JSON objects that end in NUL (https://varlink.org/Method-Call). Pure. */
import { isUtf8 } from "node:buffer";
import { decodeObject, isObject, type JsonLimit } from "./json.ts";

/** A JSON object: what parameters are. */
export type Parameters = Readonly<Record<string, unknown>>;

/** A method call as it arrives. */
export interface CallMessage {
  readonly method: string;
  readonly parameters: Parameters;
  readonly oneway: boolean;
  readonly more: boolean;
}

/** A reply as it arrives: an error when `error` is set. */
export interface ReplyMessage {
  readonly parameters: Parameters;
  readonly continues: boolean;
  readonly error: string | undefined;
}

/** Fields of a call that may be absent. */
const OPTIONAL: ReadonlySet<string> = new Set(["parameters", "oneway", "more", "upgrade"]);

const none: Parameters = Object.freeze({});

/** Bytes of a message, its NUL included. */
function encodeMessage(message: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(message)}\0`);
}

/** Bytes of a call. Flags that are false are left out. */
export function encodeCall(
  method: string,
  parameters: Parameters,
  flags: { more?: boolean; oneway?: boolean } = {},
): Buffer {
  return encodeMessage({
    method,
    parameters,
    ...(flags.more && { more: true }),
    ...(flags.oneway && { oneway: true }),
  });
}

/** Bytes of a successful reply. */
export function encodeReply(parameters: Parameters, continues = false): Buffer {
  return encodeMessage(continues ? { parameters, continues } : { parameters });
}

/** Bytes of an error reply. `error` comes first: berth-launch tells failure from success by it. */
export function encodeError(error: string, parameters: Parameters = none): Buffer {
  return encodeMessage({ error, parameters });
}

/** Decodes the first `length` bytes as a JSON object, or says in a sentence why they are none. */
export function decodeBytes(bytes: Buffer, length: number, limit?: JsonLimit): Parameters | string {
  return decodeText(bytes.toString(undefined, 0, length), bytes, length, limit);
}

/** As {@link decodeBytes}, of bytes whose text has been made. */
export function decodeText(text: string, bytes: Buffer, length: number, limit?: JsonLimit): Parameters | string {
  // A replacement character is the sign of bytes that were no UTF-8, or was itself sent.
  if (text.includes("\uFFFD") && !isUtf8(bytes.subarray(0, length))) return "the message is not UTF-8";
  return decodeObject(text, limit);
}

/** Reads a decoded object as a call; a sentence when it is none. */
export function readCall(object: Parameters): CallMessage | string {
  let method: string | undefined;
  let parameters = none;
  let oneway = false;
  let more = false;
  for (const key of Object.keys(object)) {
    const value = object[key];
    // null is what an absent optional field may be written as (https://varlink.org/Interface-Definition).
    if (value === null && OPTIONAL.has(key)) continue;
    if (key === "method" && typeof value === "string") method = value;
    else if (key === "parameters" && isObject(value)) parameters = value;
    else if (key === "oneway" && typeof value === "boolean") oneway = value;
    else if (key === "more" && typeof value === "boolean") more = value;
    else if (key === "upgrade" && value === false) continue;
    else if (key === "upgrade") return "this service has no method that upgrades a connection";
    else return `the call's field ${JSON.stringify(key.slice(0, 64))} is unknown or of the wrong type`;
  }
  if (method === undefined) return 'the call has no "method"';
  if (oneway && more) return "a call is either oneway or asks for more";
  return { method, parameters, oneway, more };
}

/** Reads a decoded object as a reply; a sentence when it is none. Unknown fields are passed over. */
export function readReply(object: Parameters): ReplyMessage | string {
  const { parameters, continues, error } = object;
  if (isGiven(parameters) && !isObject(parameters)) return "the reply's parameters are no object";
  if (isGiven(continues) && typeof continues !== "boolean") return "the reply's continues is no boolean";
  if (isGiven(error) && typeof error !== "string") return "the reply's error is no string";
  return { parameters: parameters ?? none, continues: continues ?? false, error: error ?? undefined };
}

/** Whether a field is there. `{}` is every value that is not null or undefined. */
function isGiven(value: unknown): value is NonNullable<unknown> {
  return value !== undefined && value !== null;
}
