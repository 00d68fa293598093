/** The content of an archive, from a file without a name. */
import type { FileHandle } from "node:fs/promises";

const PIECE_BYTES = 256 * 1024;

/** What an archive has. It is gone when it is disposed of. */
export class Content implements AsyncIterable<Buffer>, AsyncDisposable {
  readonly #file: FileHandle;

  /** Takes over the file. */
  constructor(file: FileHandle) {
    this.#file = file;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, void> {
    for (;;) {
      const { buffer, bytesRead } = await this.#file.read(Buffer.allocUnsafe(PIECE_BYTES));
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
