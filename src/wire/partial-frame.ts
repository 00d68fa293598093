/**
 * A frame of which only a part has arrived, with the fds that came with its first byte. It gathers and nothing else:
 * how much may come, until when, and who closes the fds is its inbox's business.
 */
import type { FdHandle } from "../fd.ts";

const NO_BYTES = Buffer.alloc(0);

export class PartialFrame {
  readonly fds: readonly FdHandle[];
  /** What has arrived is the first `length` bytes of `bytes`. */
  bytes: Buffer = NO_BYTES;
  length = 0;

  constructor(chunk: Buffer, fds: readonly FdHandle[]) {
    this.fds = fds;
    this.append(chunk);
  }

  /** Copies what came next. */
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
