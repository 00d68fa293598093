/** Bytes of packets, read with their bounds checked. */

/** The header of a packet outside any connection, in the protocols of Quake, Source and Teeworlds. */
export const CONNECTIONLESS: Uint8Array = Uint8Array.of(0xff, 0xff, 0xff, 0xff);

/** The same bytes, with a Buffer's methods. */
export function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function hasAt(packet: Uint8Array, at: number, wanted: Uint8Array): boolean {
  return packet.length >= at + wanted.length && wanted.every((byte, index) => packet[at + index] === byte);
}

/** As {@link hasAt}, of Latin-1 text. */
export function hasTextAt(packet: Uint8Array, at: number, wanted: string): boolean {
  return hasAt(packet, at, Buffer.from(wanted, "latin1"));
}

/** Whether only zeroes follow, or nothing. */
export function isZeroFrom(packet: Uint8Array, at: number): boolean {
  return packet.subarray(at).every((byte) => byte === 0);
}

export function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value & 0xffff);
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** Where the bytes after a text begin, which a NUL ends. Undefined if it has no end. */
export function endOfText(bytes: Uint8Array, at: number): number | undefined {
  const end = bytes.indexOf(0, at);
  return end < 0 ? undefined : end + 1;
}
