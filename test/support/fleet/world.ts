/** Pseudo-random bytes of a seed, as the files of a game: nothing can compress them. */
import { createCipheriv } from "node:crypto";

const MIB = 1024 * 1024;

export function randomBytes(seed: number, length: number): Buffer {
  const key = Buffer.alloc(16, seed);
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** In pieces of 1 MiB. */
export async function* pieces(content: Buffer): AsyncGenerator<Buffer, void, void> {
  for (let at = 0; at < content.length; at += MIB) yield content.subarray(at, at + MIB);
}
