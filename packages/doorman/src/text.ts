/** Text that goes into answers. A name from a configuration must not break the format it is put into. */

/** Without control characters (a NUL or newline ends a string in most protocols), and without those in `reserved`. */
function plain(text: string, reserved: string): string {
  return [...text]
    .filter((one) => !/\p{Cc}/u.test(one) && !reserved.includes(one))
    .join("")
    .trim();
}

/** UTF-8 of at most so many bytes, ending with a whole character. */
export function utf8(text: string, most: number, reserved = ""): Buffer {
  const bytes = Buffer.from(plain(text, reserved), "utf8");
  let end = Math.min(most, bytes.length);
  // A byte 10xxxxxx continues a character.
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** As {@link utf8}, with the NUL that ends it. */
export function endedUtf8(text: string, most: number): Buffer {
  return Buffer.concat([utf8(text, most), Buffer.of(0)]);
}

/** A head and a text that a NUL ends, of at most so many bytes together. Undefined without room for a text. */
export function endedBy(text: string, head: Uint8Array, most: number, reserved = ""): Buffer | undefined {
  const room = most - head.length - 1;
  const shown = room < 1 ? Buffer.alloc(0) : utf8(text, room, reserved);
  return shown.length === 0 ? undefined : Buffer.concat([head, shown, Buffer.of(0)]);
}

/** Latin-1 of at most so many bytes; `?` for what it lacks. */
export function latin1(text: string, most: number, reserved = ""): string {
  return [...plain(text, reserved)]
    .map((one) => ((one.codePointAt(0) ?? 0) < 0x100 ? one : "?"))
    .join("")
    .slice(0, most);
}

/** A whole number from 0 to `most`. */
export function count(value: number, most: number): number {
  return Number.isFinite(value) ? Math.min(most, Math.max(0, Math.trunc(value))) : 0;
}
