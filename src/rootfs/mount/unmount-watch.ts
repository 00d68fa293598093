/**
 * Tells when a file system is unmounted: no process has it mounted, or has one of its files open. It watches a folder
 * of the file system, and the kernel reports the unmount (inotify(7), IN_UNMOUNT). A watch keeps no file system alive.
 */
import { readSync } from "node:fs";
import { FdHandle } from "../../fd.ts";
import { IN_NONBLOCK, IN_UNMOUNT, type Native } from "../../native.ts";
import { pathOf } from "../disk/proc-path.ts";

/** A struct inotify_event without a name: the watch, a mask, a cookie, and the length of the name. */
const EVENT_BYTES = 16;

export class UnmountWatch {
  readonly #sys: Native;
  readonly #events = Buffer.alloc(256 * EVENT_BYTES);
  readonly #mounted = new Set<number>();
  #inotify: FdHandle | undefined;

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /** Watches the file system of a mount, and returns the watch's number. Undefined when the user's limit is reached. */
  watch(mount: FdHandle): number | undefined {
    if (this.#inotify === undefined) {
      const inotify = this.#sys.inotifyInit(IN_NONBLOCK);
      if (inotify < 0) return undefined;
      this.#inotify = FdHandle.adopt(inotify, this.#sys);
    }
    const watch = this.#sys.inotifyAddWatch(this.#inotify.fd, pathOf(mount), IN_UNMOUNT);
    if (watch < 0) return undefined;
    this.#mounted.add(watch);
    return watch;
  }

  /** Whether the file system is unmounted, with all its data on disk. */
  isUnmounted(watch: number): boolean {
    if (this.#inotify === undefined) return false;
    for (let size = this.#events.length; size === this.#events.length; ) {
      size = this.#read();
      for (let at = 0; at < size; at += EVENT_BYTES) {
        if ((this.#events.readUint32LE(at + 4) & IN_UNMOUNT) !== 0) this.#mounted.delete(this.#events.readInt32LE(at));
      }
    }
    return !this.#mounted.has(watch);
  }

  /** Stops watching. */
  close(): void {
    this.#inotify?.close();
    this.#inotify = undefined;
    this.#mounted.clear();
  }

  #read(): number {
    if (this.#inotify === undefined) return 0;
    try {
      return readSync(this.#inotify.fd, this.#events, 0, this.#events.length, null);
    } catch {
      return 0; // EAGAIN: there are no more events
    }
  }
}
