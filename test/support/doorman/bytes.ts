/** Bytes of packets, as the tables of scans and streams write them. */

/** Spaces are for the reader. Throws if a digit is wrong or missing: Buffer.from would cut off the packet there. */
export function hex(digits: string): Buffer {
  const plain = digits.replaceAll(" ", "");
  const bytes = Buffer.from(plain, "hex");
  if (bytes.length * 2 !== plain.length) throw new Error(`not whole bytes in hexadecimal: ${digits}`);
  return bytes;
}

/** Latin-1. */
export function text(value: string): Buffer {
  return Buffer.from(value, "latin1");
}

/** Bytes in hexadecimal, and text behind them. */
export function hexAndText(digits: string, value: string): Buffer {
  return Buffer.concat([hex(digits), text(value)]);
}
