/** The addon with some calls replaced, and polls that a test fires by hand. */
import { check } from "../../src/errors.ts";
import { type Native, native, type Poll, type PollCallback, READABLE, WRITABLE } from "../../src/native.ts";

/** A poll that watches nothing: `fire` is readiness. */
export class FakePoll implements Poll {
  static last: FakePoll | undefined;
  readonly fd: number;
  readonly #callback: PollCallback;
  events = 0;
  closed = false;
  referenced = true;

  constructor(fd: number, callback: PollCallback) {
    this.fd = fd;
    this.#callback = callback;
    FakePoll.last = this;
  }

  start(events: number): number {
    this.events = events;
    return 0;
  }

  close(): void {
    this.closed = true;
  }

  ref(): void {
    this.referenced = true;
  }

  unref(): void {
    this.referenced = false;
  }

  /** What the kernel says of the descriptor now is told, if it is watched for; true when there was something. */
  turn(): boolean {
    if (this.closed) return false;
    const now = check("poll", native.pollNow(this.fd, 0x1 | 0x4));
    // As libuv does it: an error is EBADF and ends the watching; a hangup is whatever was asked for.
    if ((now & 0x8) !== 0) {
      this.events = 0;
      this.#callback(-9, 0);
      return true;
    }
    const hangup = (now & 0x10) !== 0;
    const events = ((now & 0x1) !== 0 || hangup ? READABLE : 0) | ((now & 0x4) !== 0 || hangup ? WRITABLE : 0);
    if ((events & this.events) === 0) return false;
    this.#callback(0, events & this.events);
    return true;
  }

  fire(events: number): void {
    this.#callback(0, events);
  }

  fail(status: number): void {
    this.#callback(status, 0);
  }
}

/** The addon, but for what `changes` replaces; polls are fired by hand. */
export function scripted(changes: Partial<Native> = {}): Native {
  return { ...native, Poll: FakePoll, ...changes };
}

/** The poll made last. */
export function lastPoll(): FakePoll {
  if (FakePoll.last === undefined) throw new Error("no poll was made");
  return FakePoll.last;
}
