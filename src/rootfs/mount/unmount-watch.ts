/**
 * Knows of file systems whether they have ended: no process has one mounted any more, or a file of it open. The kernel
 * says so to whoever watches a folder of it (inotify(7), IN_UNMOUNT). To be watched keeps none of them alive.
 */
import { readSync } from "node:fs";
import { FdHandle } from "../../fd.ts";
import { IN_NONBLOCK, IN_UNMOUNT, type Native } from "../../native.ts";
import { pathOf } from "./overlay.ts";

/** A struct inotify_event without a name: the watch, a mask, a cookie, and the length of the name. */
const EVENT_SIZE = 16;

export class UnmountWatch {
  readonly #sys: Native;
  readonly #events = Buffer.alloc(256 * EVENT_SIZE);
  readonly #living = new Set<number>();
  #inotify: FdHandle | undefined;

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /** Watches the file system of a mount: its number here. Undefined where it cannot: a user has so many watches only. */
  watch(mount: FdHandle): number | undefined {
    if (this.#inotify === undefined) {
      const inotify = this.#sys.inotifyInit(IN_NONBLOCK);
      if (inotify < 0) return undefined;
      this.#inotify = FdHandle.adopt(inotify, this.#sys);
    }
    const watch = this.#sys.inotifyAddWatch(this.#inotify.fd, pathOf(mount), IN_UNMOUNT);
    if (watch < 0) return undefined;
    this.#living.add(watch);
    return watch;
  }

  /** Whether the file system has ended, with all that was written to it where it belongs. Of what is not watched: no. */
  isUnmounted(watch: number): boolean {
    if (this.#inotify === undefined) return false;
    for (let size = this.#events.length; size === this.#events.length; ) {
      size = this.#read();
      for (let at = 0; at < size; at += EVENT_SIZE) {
        if ((this.#events.readUint32LE(at + 4) & IN_UNMOUNT) !== 0) this.#living.delete(this.#events.readInt32LE(at));
      }
    }
    return !this.#living.has(watch);
  }

  /** Watches no more. */
  close(): void {
    this.#inotify?.close();
    this.#inotify = undefined;
    this.#living.clear();
  }

  #read(): number {
    if (this.#inotify === undefined) return 0;
    try {
      return readSync(this.#inotify.fd, this.#events, 0, this.#events.length, null);
    } catch {
      return 0; // EAGAIN: there is nothing to be told
    }
  }
}
