/**
 * An incomplete frame, with the fds that arrived with its first byte. It only collects bytes. The inbox applies the
 * limits and the deadline, and closes the fds.
 */
import type { FdHandle } from "../fd.ts";
import type { Memory } from "./receiver.ts";

const NO_BYTES = Buffer.alloc(0);

export class PartialFrame {
  readonly fds: readonly FdHandle[];
  /** Why other descriptors that came were not let through. */
  readonly refused: readonly string[];
  /** The first `length` bytes of `bytes` have arrived. */
  bytes: Buffer = NO_BYTES;
  length = 0;
  readonly #memory: Memory | undefined;

  constructor(fds: readonly FdHandle[], refused: readonly string[], memory: Memory | undefined) {
    this.fds = fds;
    this.refused = refused;
    this.#memory = memory;
  }

  /** Appends the next bytes. False when there is no memory for them. */
  append(chunk: Buffer): boolean {
    const length = this.length + chunk.length;
    if (this.bytes.length < length) {
      const size = Math.max(4096, length * 2);
      if (this.#memory?.take(size - this.bytes.length) === false) return false;
      const larger = Buffer.allocUnsafeSlow(size);
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    chunk.copy(this.bytes, this.length);
    this.length = length;
    return true;
  }

  /** Gives back what was taken of the memory. The bytes stay valid. Called once. */
  free(): void {
    this.#memory?.give(this.bytes.length);
  }
}
