/**
 * Whose a held socket is (sk_uid): rules by uid, and the kernel's check of SO_REUSEPORT, go by it. fchown(2) of a
 * socket takes the lock of its inode alone, which no tenant can hold (test/attacks/held-lock.test.ts).
 */
import { fchownSync, fstatSync } from "node:fs";

export class SocketUid {
  /** Undefined as long as it is the user's who made it. */
  #uid: number | undefined;

  /** Gives the open socket to a user, and each that takes its place, before it is bound. */
  set(uid: number, fd: number | undefined): void {
    if (this.#uid === uid) return;
    this.#uid = uid;
    this.renew(fd);
  }

  /** It is another socket now. */
  renew(fd: number | undefined): void {
    if (this.#uid === undefined || fd === undefined) return;
    try {
      fchownSync(fd, this.#uid, -1);
    } catch (error) {
      // Without CAP_CHOWN, or for a user that this user namespace does not have, it stays whose it was.
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
}

export function uidOfSocket(fd: number): number {
  return fstatSync(fd).uid;
}
