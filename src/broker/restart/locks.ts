/** The files that a broker locks, so that no two brokers share a socket or a state folder. It removes none of them. */
import { constants as files, fstatSync, lstatSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { BerthError, SysError } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { LOCK_EX } from "../../file-constants.ts";
import { makeFolders } from "../../make-folders.ts";
import type { Native } from "../../native.ts";
import { asSysError, system } from "../../rootfs/disk/durable.ts";
import type { NotedProcess } from "./held-note.ts";

const FLAGS = files.O_RDWR | files.O_CREAT | files.O_NOFOLLOW | files.O_NONBLOCK;

export class Locks {
  readonly #held: FdHandle[] = [];
  readonly #sys: Native;
  /** The lock of the control socket, if it is one of them. */
  ofSocket: FdHandle | undefined;
  /** The keeper and the doormen that are noted in it. */
  keeper: NotedProcess | undefined;
  doormen: readonly NotedProcess[] = [];

  constructor(sys: Native) {
    this.#sys = sys;
  }

  /**
   * Locks a file. Creates it if it is missing, and its folder with these permission bits. Throws BROKER_RUNNING if
   * another process has the lock. The lock ends with the process, so the file stays (flock(2)). If `inherited` has the
   * open file of a predecessor's lock, that one is used: the lock belongs to the open file. Returns it, borrowed.
   */
  take(path: string, folderMode: number, inherited: readonly FdHandle[] = []): FdHandle {
    const known = inherited.find((lock) => isFile(lock, path));
    if (known !== undefined) {
      this.#held.push(known);
      return known;
    }
    system(dirname(path), () => makeFolders(dirname(path), folderMode));
    const lock = openLock(path, this.#sys);
    this.#held.push(lock);
    const result = this.#sys.flock(lock.fd, LOCK_EX);
    if (result >= 0) return lock;
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

/** Only a regular file of the broker's user: another user could hold its lock, or have a link changed in its place. */
function openLock(path: string, sys: Native): FdHandle {
  const lock = openFile(path, sys);
  const problem = typeof lock === "string" ? lock : problemOf(lock);
  if (typeof lock !== "string" && problem === undefined) return lock;
  if (typeof lock !== "string") lock.close();
  throw new BerthError("SYSTEM_ERROR", `cannot lock ${path}: ${problem}; move it away: mv ${path} ${path}.old`);
}

/** Or a sentence that says what is in its place. */
function openFile(path: string, sys: Native): FdHandle | string {
  try {
    return FdHandle.adopt(openSync(path, FLAGS, 0o600), sys);
  } catch (error) {
    const there = lstatSync(path, { throwIfNoEntry: false });
    if (there?.isSymbolicLink() === true) return "it is a symbolic link";
    if (there?.isFile() === false) return "it is no regular file";
    throw asSysError(error, path);
  }
}

function problemOf(lock: FdHandle): string | undefined {
  const found = fstatSync(lock.fd);
  if (!found.isFile()) return "it is no regular file";
  return found.uid === process.geteuid?.() ? undefined : `it belongs to uid ${found.uid}`;
}

function isFile(lock: FdHandle, path: string): boolean {
  const there = lstatSync(path, { throwIfNoEntry: false });
  const ours = fstatSync(lock.fd);
  return there?.ino === ours.ino && there.dev === ours.dev;
}
