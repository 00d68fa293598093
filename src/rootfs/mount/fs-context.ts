/**
 * A file system by descriptor, as fsopen(2) begins it: configured step by step, then mounted nowhere but behind the
 * descriptor that comes of it. When the kernel refuses, its own words are in the error.
 */
import { readSync } from "node:fs";
import { check, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";

/** The kernel keeps eight messages at most. */
const MAX_MESSAGES = 8;

export class FsContext implements Disposable {
  readonly #type: string;
  readonly #handle: FdHandle;
  readonly #sys: Native;

  /** Of the file system `type`, as in /proc/filesystems. Throws SYSTEM_ERROR, as every method here. */
  constructor(type: string, sys: Native) {
    this.#type = type;
    this.#sys = sys;
    this.#handle = FdHandle.adopt(check("fsopen", sys.fsopen(type), type), sys);
  }

  /** Sets `key`; with a value, to it. */
  set(key: string, value?: string | number): void {
    const text = typeof value === "number" ? String(value) : value;
    const result =
      text === undefined
        ? this.#sys.fsconfigFlag(this.#handle.fd, key)
        : this.#sys.fsconfigString(this.#handle.fd, key, text);
    this.#check(text === undefined ? key : `${key}=${text}`, result);
  }

  /** Sets `key` to a descriptor, borrowed. False where this kernel takes none for it. */
  trySetFd(key: string, fd: number): boolean {
    const result = this.#sys.fsconfigFd(this.#handle.fd, key, fd);
    if (result === 0) return true;
    const error = this.#error(key, -result);
    if (error.errnoName === "EINVAL") return false;
    throw error;
  }

  /** Makes the file system, and a mount of it with these MOUNT_ATTR_… bits, attached nowhere. */
  mount(attributes: number): FdHandle {
    this.#check("create", this.#sys.fsconfigCreate(this.#handle.fd));
    const mount = this.#sys.fsmount(this.#handle.fd, attributes);
    this.#check("mount", mount);
    return FdHandle.adopt(mount, this.#sys);
  }

  [Symbol.dispose](): void {
    this.#handle.close();
  }

  #check(step: string, result: number): void {
    if (result < 0) throw this.#error(step, -result);
  }

  #error(step: string, errno: number): SysError {
    const said = this.#messages();
    return new SysError(`${this.#type} ${step}`, errno, said.length === 0 ? undefined : `(${said.join("; ")})`);
  }

  /** What the kernel has said since it was last asked, each with "e ", "w " or "i " in front. */
  #messages(): string[] {
    const messages: string[] = [];
    const text = Buffer.alloc(1024);
    while (messages.length < MAX_MESSAGES) {
      try {
        messages.push(text.toString("utf8", 2, readSync(this.#handle.fd, text, 0, text.length, null)).trim());
      } catch {
        break; // ENODATA: that was all
      }
    }
    return messages;
  }
}
