/**
 * A file of texts for the next process, each in a slot of its own. A text is written only into a free slot, by one
 * write. So a process that is killed while it writes leaves the other texts intact. Its own is whole, absent, or the
 * beginning of it, with what an older text of the slot had behind: each text must tell that by itself. Nothing is
 * flushed: the file outlives the process, not the machine.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { BerthError } from "../../errors.ts";

/** Bytes of a slot, with the NUL after the text. The unused rest is a hole in the file and takes no disk. */
export const SLOT = 32_768;
/** A hundred thousand leases. */
const MAX_SIZE = 100_000 * SLOT;
const EMPTY: Uint8Array = Buffer.alloc(1);
/** What is written next. A buffer of its own for each text is memory that the kernel has to clear. */
const scratch: Buffer = Buffer.alloc(SLOT);
const BRACE = 0x7b;

export class SlotFile implements Disposable {
  #fd: number | undefined;
  readonly #free: number[] = [];
  #slots: number;

  private constructor(fd: number) {
    this.#fd = fd;
    this.#slots = Math.ceil(fstatSync(fd).size / SLOT);
  }

  /** Opens the file, or creates it. Throws when that fails, or when other users could have written to it. */
  static open(path: string): SlotFile {
    const fd = openSync(
      path,
      constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK,
      0o600,
    );
    const found = fstatSync(fd);
    const isOurs =
      found.isFile() && found.nlink === 1 && found.uid === process.geteuid?.() && (found.mode & 0o077) === 0;
    if (isOurs && found.size <= MAX_SIZE && hasSlots(fd, found.size)) return new SlotFile(fd);
    closeSync(fd);
    throw new BerthError(
      "SYSTEM_ERROR",
      `${path} is not a record of this user's broker, or others can write to it; remove it: rm ${path}`,
    );
  }

  /** Every text in the file, by slot. Call it once, first. */
  read(): Map<number, string> {
    const found = new Map<number, string>();
    const bytes = Buffer.alloc(SLOT);
    for (let slot = 0; slot < this.#slots; slot++) {
      const size = readSync(this.#open, bytes, 0, SLOT, slot * SLOT);
      const end = bytes.subarray(0, size).indexOf(0);
      const text = bytes.toString("utf8", 0, end < 0 ? size : end);
      if (text === "") this.#free.push(slot);
      else found.set(slot, text);
    }
    return found;
  }

  /** Writes a text, a JSON object, and returns its slot. Throws when the disk is full or the text exceeds a slot. */
  write(text: string): number {
    const size = Buffer.byteLength(text) + 1;
    if (size > SLOT) throw new BerthError("SYSTEM_ERROR", `the record has ${size} bytes; at most ${SLOT} fit`);
    scratch[scratch.write(text)] = 0;
    const slot = this.#free.pop() ?? this.#slots++;
    try {
      this.#put(scratch.subarray(0, size), slot * SLOT);
    } catch (error) {
      this.#free.push(slot);
      throw error;
    }
    return slot;
  }

  /** Frees a slot. Without texts the file is empty. */
  clear(slot: number): void {
    this.#put(EMPTY, slot * SLOT);
    this.#free.push(slot);
    if (this.#free.length < this.#slots || this.#slots < 64) return;
    ftruncateSync(this.#open, 0);
    this.#free.length = 0;
    this.#slots = 0;
  }

  /** Closes the file; its texts stay. Idempotent. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** A full disk may accept only a part. */
  #put(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length; ) {
      const size = writeSync(this.#open, bytes, done, bytes.length - done, at + done);
      if (size === 0) throw new BerthError("SYSTEM_ERROR", "the disk is full");
      done += size;
    }
  }

  get #open(): number {
    if (this.#fd === undefined) throw new BerthError("DESCRIPTOR_CLOSED", "the record of leases is closed");
    return this.#fd;
  }
}

/** Whether every slot is free or begins like a record. */
function hasSlots(fd: number, size: number): boolean {
  const first = Buffer.alloc(1);
  for (let at = 0; at < size; at += SLOT) {
    readSync(fd, first, 0, 1, at);
    if (first[0] !== 0 && first[0] !== BRACE) return false;
  }
  return true;
}
