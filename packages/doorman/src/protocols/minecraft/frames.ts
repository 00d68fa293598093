/** The frames of Minecraft Java: a length, then that many bytes (https://minecraft.wiki/w/Java_Edition_protocol). */
import { view } from "../../bytes.ts";

export interface VarInt {
  /** 32 bits, without sign. */
  readonly value: number;
  /** Where the bytes after it begin. */
  readonly end: number;
}

const LONGEST_VARINT = 5;

/** 7 bits a byte, the lowest first. `short` if more bytes are needed, `bad` if it is too long. */
export function readVarInt(bytes: Uint8Array, at: number): VarInt | "short" | "bad" {
  let value = 0;
  for (let index = 0; index < LONGEST_VARINT; index++) {
    const byte = bytes[at + index];
    if (byte === undefined) return "short";
    value |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) return { value: value >>> 0, end: at + index + 1 };
  }
  return "bad";
}

export function varInt(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value >>> 0;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.of(...bytes, rest);
}

export interface Frame {
  readonly id: number;
  readonly body: Buffer;
  /** Where the bytes after it begin. */
  readonly end: number;
}

/** The frame that begins at `at`, of at most `longest` bytes. */
export function readFrame(bytes: Uint8Array, at: number, longest: number): Frame | "short" | "bad" {
  const length = readVarInt(bytes, at);
  if (typeof length === "string") return length;
  if (length.value < 1 || length.value > longest) return "bad";
  const end = length.end + length.value;
  const id = readVarInt(bytes.subarray(0, end), length.end);
  if (id === "bad") return "bad";
  // Of a frame whose id does not fit into it, no further byte helps.
  if (id === "short") return bytes.length < end ? "short" : "bad";
  if (bytes.length < end) return "short";
  return { id: id.value, body: view(bytes).subarray(id.end, end), end };
}

export function frame(id: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat([varInt(id), ...parts]);
  return Buffer.concat([varInt(body.length), body]);
}

/** Text with its length in front, as bytes of UTF-8. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([varInt(bytes.length), bytes]);
}

/** The text at `at` of at most `longest` bytes, and where it ends. */
export function readText(bytes: Buffer, at: number, longest: number): { value: string; end: number } | undefined {
  const length = readVarInt(bytes, at);
  if (typeof length === "string" || length.value > longest || length.end + length.value > bytes.length)
    return undefined;
  const end = length.end + length.value;
  return { value: bytes.toString("utf8", length.end, end), end };
}
