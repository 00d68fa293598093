/** The sending side alone: what queued messages hold, and when it tries again. */
import { constants } from "node:os";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type BerthError, SysError } from "../../src/errors.ts";
import { borrow, type FdHandle, NOTHING_BORROWED } from "../../src/fd.ts";
import { type Native, native } from "../../src/native.ts";
import { Outbox } from "../../src/wire/outbox.ts";
import type { WireSettings } from "../../src/wire/receiver.ts";
import { leaksNothing } from "../support/fds.ts";
import { memfd } from "../support/sockets.ts";

const { EAGAIN, EMFILE, EPIPE } = constants.errno;
const ETOOMANYREFS = 109;
const FD_BYTES = 16 * 1024;

leaksNothing();
let file: FdHandle;

beforeEach(() => {
  vi.useFakeTimers();
  file = memfd();
});

afterEach(() => {
  vi.useRealTimers();
  file.close();
});

/** An outbox over a kernel that takes, call by call, as many bytes as `takes` says; -EAGAIN after that. */
class Sending {
  readonly takes: number[] = [];
  readonly retried: number[] = [];
  readonly over: BerthError[] = [];
  readonly sent: { text: string; fds: number }[] = [];
  readonly outbox: Outbox;
  held = 0;
  most = Number.POSITIVE_INFINITY;

  constructor(options: Partial<WireSettings> = {}, changes: Partial<Native> = {}) {
    const sendmsg: Native["sendmsg"] = (_, bytes, offset, __, count) => {
      const size = this.takes.shift() ?? -EAGAIN;
      if (size < 0) return size;
      this.sent.push({ text: Buffer.from(bytes.subarray(offset, offset + size)).toString(), fds: count });
      return Math.min(size, bytes.length - offset);
    };
    const settings: WireSettings = {
      framing: "nul",
      maxMessage: 0,
      maxFdsAhead: 0,
      maxQueue: 100,
      deadline: 0,
      sys: { ...native, sendmsg, ...changes },
      incomplete: undefined,
      unread: {
        take: (bytes) => {
          if (this.held + bytes > this.most) return false;
          this.held += bytes;
          return true;
        },
        give: (bytes) => {
          this.held -= bytes;
        },
      },
      gate: undefined,
      ...options,
    };
    this.outbox = new Outbox(
      file,
      settings,
      () => this.retried.push(Date.now()),
      (cause) => this.over.push(cause),
    );
  }

  send(text: string, fds = 0): unknown {
    const outcome = this.outbox.send(Buffer.from(text), fds === 0 ? NOTHING_BORROWED : borrow(Array(fds).fill(file)));
    return outcome instanceof SysError ? `${outcome.syscall} ${outcome.errnoName}` : outcome;
  }

  flush(...takes: number[]): unknown {
    this.takes.push(...takes);
    const outcome = this.outbox.flush();
    return outcome instanceof SysError ? `${outcome.syscall} ${outcome.errnoName}` : outcome;
  }
}

describe("what queued messages hold", () => {
  it("is their bytes and 16 KiB for each descriptor, until these have gone", () => {
    const sending = new Sending();
    expect([sending.send("0123456789", 2), sending.held]).toEqual(["queued", 10 + 2 * FD_BYTES]);
    expect([sending.send("abc", 1), sending.held]).toEqual(["queued", 13 + 3 * FD_BYTES]);
    expect([sending.flush(4), sending.held]).toEqual(["queued", 9 + FD_BYTES]);
    expect([sending.flush(6), sending.held]).toEqual(["queued", 3 + FD_BYTES]);
    expect([sending.flush(3), sending.held, sending.outbox.queued]).toEqual(["sent", 0, false]);
    expect(sending.sent).toEqual([
      { text: "0123", fds: 2 },
      { text: "456789", fds: 0 },
      { text: "abc", fds: 1 },
    ]);
  });

  it("is given back when the outbox closes, the part that was sent only once", () => {
    const sending = new Sending();
    sending.takes.push(4);
    expect([sending.send("0123456789", 1), sending.held]).toEqual(["queued", 6]);
    expect([sending.send("abc", 1), sending.held]).toEqual(["queued", 9 + FD_BYTES]);
    sending.flush(1);
    sending.outbox.close();
    expect([sending.held, sending.outbox.queued]).toEqual([0, false]);
  });

  it("where there is no memory, nothing of a message is sent; one that was begun ends the connection", () => {
    const sending = new Sending();
    sending.most = 5;
    expect([sending.send("012345"), sending.outbox.queued]).toEqual(["full", false]);
    sending.takes.push(1);
    expect([sending.send("0123456"), sending.outbox.queued]).toEqual(["sendmsg ENOBUFS", false]);
    expect([sending.send("01234"), sending.held]).toEqual(["queued", 5]);
  });

  it("is given back when a descriptor cannot be duplicated, and those that could are closed", () => {
    let left = 1;
    const sending = new Sending({}, { dup: (fd) => (left-- > 0 ? native.dup(fd) : -EMFILE) });
    expect([sending.send("abc", 2), sending.held]).toEqual(["fcntl F_DUPFD_CLOEXEC EMFILE", 0]);
  });

  it("is bounded by the queue's limit in bytes, of which those sent no longer count", () => {
    const sending = new Sending({ unread: undefined });
    expect(sending.send("a".repeat(60))).toBe("queued");
    expect(sending.send("b".repeat(41))).toBe("full");
    expect(sending.send("b".repeat(40))).toBe("queued");
    expect(sending.send("c")).toBe("full");
    sending.flush(1);
    expect([sending.send("cc"), sending.send("c")]).toEqual(["full", "queued"]);
    sending.outbox.close();
  });
});

it("of a message that was sent in part, only the rest counts against the queue's limit", () => {
  const sending = new Sending();
  sending.takes.push(50);
  expect([sending.send("a".repeat(60)), sending.send("b".repeat(91))]).toEqual(["queued", "full"]);
  expect(sending.send("b".repeat(90))).toBe("queued");
  sending.outbox.close();
});

describe("an error of the kernel", () => {
  it("is the outcome of the message that met it", () => {
    const sending = new Sending();
    sending.takes.push(-EPIPE);
    expect([sending.send("a"), sending.outbox.queued]).toEqual(["sendmsg EPIPE", false]);
    sending.send("b");
    expect(sending.flush(-EPIPE)).toBe("sendmsg EPIPE");
    sending.outbox.close();
  });

  it("ETOOMANYREFS is tried again after 5 ms, then after twice as long each time, up to 500 ms", () => {
    const sending = new Sending();
    sending.takes.push(-ETOOMANYREFS);
    expect([sending.send("a", 1), sending.outbox.wantsWritable]).toEqual(["queued", false]);
    const waits = Array.from({ length: 9 }, () => {
      const before = Date.now();
      vi.advanceTimersToNextTimer();
      expect(sending.outbox.wantsWritable).toBe(true);
      expect([sending.flush(-ETOOMANYREFS), sending.outbox.wantsWritable]).toEqual(["queued", false]);
      return Date.now() - before;
    });
    expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 500, 500]);
    expect(sending.retried).toHaveLength(9);
    // Once something was sent, the waits begin anew.
    vi.advanceTimersToNextTimer();
    sending.send("b");
    sending.flush(1, -ETOOMANYREFS);
    const before = Date.now();
    vi.advanceTimersToNextTimer();
    expect(Date.now() - before).toBe(5);
    sending.outbox.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the deadline", () => {
  it("begins with the first message that is queued, and anew with each byte that the peer reads", () => {
    const sending = new Sending({ deadline: 100 });
    sending.takes.push(1);
    sending.send("a");
    expect(vi.getTimerCount()).toBe(0);
    sending.send("bc");
    vi.advanceTimersByTime(60);
    sending.send("d");
    vi.advanceTimersByTime(39);
    sending.flush(1);
    vi.advanceTimersByTime(99);
    expect(sending.over).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(sending.over).toEqual([
      expect.objectContaining({ code: "CONNECTION_CLOSED", message: "the peer has not read for 100 ms" }),
    ]);
    sending.outbox.close();
  });

  it("ends when the queue is empty, begins anew with the next message, and is none when it is 0", () => {
    const sending = new Sending({ deadline: 100 });
    sending.send("a");
    sending.flush(1);
    expect(vi.getTimerCount()).toBe(0);
    sending.send("b");
    vi.advanceTimersByTime(100);
    expect(sending.over).toHaveLength(1);
    sending.outbox.close();
    const patient = new Sending({ deadline: 0 });
    patient.send("a");
    expect(vi.getTimerCount()).toBe(0);
    patient.outbox.close();
  });
});
