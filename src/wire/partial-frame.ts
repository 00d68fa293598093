/**
 * An incomplete frame, with the fds that arrived with its first byte. It only collects bytes. The inbox applies the
 * limits and the deadline, and closes the fds.
 */
import type { FdHandle } from "../fd.ts";

const NO_BYTES = Buffer.alloc(0);

export class PartialFrame {
  readonly fds: readonly FdHandle[];
  /** The first `length` bytes of `bytes` have arrived. */
  bytes: Buffer = NO_BYTES;
  length = 0;

  constructor(chunk: Buffer, fds: readonly FdHandle[]) {
    this.fds = fds;
    this.append(chunk);
  }

  /** Appends the next bytes. */
  append(chunk: Buffer): void {
    const length = this.length + chunk.length;
    if (this.bytes.length < length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(4096, length * 2));
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    chunk.copy(this.bytes, this.length);
    this.length = length;
  }
}
