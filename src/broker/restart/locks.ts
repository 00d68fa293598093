/** The files that a broker locks, so that no two brokers share a socket or a state folder. It removes none of them. */
import { constants as files, fstatSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { BerthError, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { LOCK_EX, type Native } from "../../native.ts";

const FLAGS = files.O_RDWR | files.O_CREAT;

export class Locks {
  readonly #held: FdHandle[] = [];
  readonly #sys: Native;

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /**
   * Locks a file. Creates it if it is missing, and its folder with these permission bits. Throws BROKER_RUNNING if
   * another process has the lock. The lock ends with the process, so the file stays (flock(2)). If `inherited` has the
   * open file of a predecessor's lock, that one is used: the lock belongs to the open file.
   */
  take(path: string, folderMode: number, inherited: readonly FdHandle[] = []): void {
    const known = inherited.find((lock) => isFile(lock, path));
    if (known !== undefined) {
      this.#held.push(known);
      return;
    }
    mkdirSync(dirname(path), { recursive: true, mode: folderMode });
    const lock = FdHandle.adopt(openSync(path, FLAGS, 0o600), this.#sys);
    this.#held.push(lock);
    const result = this.#sys.flock(lock.fd, LOCK_EX);
    if (result >= 0) return;
    throw new BerthError(
      "BROKER_RUNNING",
      `another broker is running: it holds ${path}; stop it, or choose another --socket and --state; --replace takes over from it`,
      { cause: new SysError("flock", -result, path) },
    );
  }

  /** Whether this is one of the descriptors that hold a lock. */
  has(lock: FdHandle): boolean {
    return this.#held.includes(lock);
  }

  /** The locked files, borrowed. A process that gets them has the locks too. */
  get fds(): readonly number[] {
    return this.#held.map(({ fd }) => fd);
  }

  close(): void {
    for (const lock of this.#held.splice(0)) lock.close();
  }
}

function isFile(lock: FdHandle, path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  const ours = fstatSync(lock.fd);
  return there?.ino === ours.ino && there.dev === ours.dev;
}
