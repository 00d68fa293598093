/**
 * Makes a file system by descriptor: fsopen(2), fsconfig(2) for each option, then fsmount(2). The mount is attached
 * nowhere. When the kernel refuses a step, the error contains the kernel's own message.
 */
import { readSync } from "node:fs";
import { check, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import type { Native } from "../../native.ts";

/** The kernel stores at most eight messages. */
const MAX_MESSAGES = 8;

export class FsContext implements Disposable {
  readonly #type: string;
  readonly #handle: FdHandle;
  readonly #sys: Native;

  /** `type` is a name in /proc/filesystems. This and every method throws SYSTEM_ERROR. */
  constructor(type: string, sys: Native) {
    this.#type = type;
    this.#sys = sys;
    this.#handle = FdHandle.adopt(check("fsopen", sys.fsopen(type), type), sys);
  }

  /** Sets the option `key`, to a value if there is one. */
  set(key: string, value?: string | number): void {
    const text = typeof value === "number" ? String(value) : value;
    const result =
      text === undefined
        ? this.#sys.fsconfigFlag(this.#handle.fd, key)
        : this.#sys.fsconfigString(this.#handle.fd, key, text);
    this.#check(text === undefined ? key : `${key}=${text}`, result);
  }

  /** Sets the option `key` to a descriptor, borrowed. False when this kernel takes no descriptor for this option. */
  trySetFd(key: string, fd: number): boolean {
    const result = this.#sys.fsconfigFd(this.#handle.fd, key, fd);
    if (result === 0) return true;
    const error = this.#error(key, -result);
    if (error.errnoName === "EINVAL") return false;
    throw error;
  }

  /** Makes the file system and a detached mount of it. `attributes` are MOUNT_ATTR_… bits. */
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
    const messages = this.#messages();
    return new SysError(`${this.#type} ${step}`, errno, messages.length === 0 ? undefined : `(${messages.join("; ")})`);
  }

  /** The kernel's messages since the last read. Each starts with "e ", "w " or "i ", which is cut off. */
  #messages(): string[] {
    const messages: string[] = [];
    const text = Buffer.alloc(1024);
    while (messages.length < MAX_MESSAGES) {
      try {
        messages.push(text.toString("utf8", 2, readSync(this.#handle.fd, text, 0, text.length, null)).trim());
      } catch {
        break; // ENODATA: there are no more
      }
    }
    return messages;
  }
}
