import { constants } from "node:os";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { BerthError } from "../src/errors.ts";
import { borrow, closeAll, type FdHandle } from "../src/fd.ts";
import { type Native, native, READABLE, WRITABLE } from "../src/native.ts";
import { SOCK_SEQPACKET } from "../src/net/transport.ts";
import { Wire, type WireOptions } from "../src/wire.ts";
import { expectFdsAgain, openFds } from "./support/fds.ts";
import { type FakePoll, lastPoll, scripted } from "./support/scripted-native.ts";
import { fileOf, memfd, socketPair } from "./support/sockets.ts";

const { EAGAIN, EMFILE, EMSGSIZE, EIO } = constants.errno;
const ETOOMANYREFS = 109;

let before: string[];
let peer: FdHandle;
let own: FdHandle;

beforeEach(() => {
  before = openFds();
  [own, peer] = socketPair();
});

afterEach(() => {
  vi.useRealTimers();
  own.close();
  peer.close();
  expect(openFds()).toEqual(before);
});

interface Got {
  readonly text: string;
  readonly files: readonly string[];
}

/** A wire on `own` with what it told its receiver; the fds it received are closed at once. */
class Listening {
  readonly got: Got[] = [];
  readonly closed: (BerthError | undefined)[] = [];
  readonly wire: Wire;
  drained = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: Partial<WireOptions> = {}, socket = own) {
    this.wire = new Wire(
      socket,
      {
        onMessage: (bytes, length, fds) => {
          this.got.push({ text: bytes.toString("latin1", 0, length), files: fds.map(fileOf) });
          closeAll(fds);
          this.#wake();
        },
        onClosed: (cause) => {
          this.closed.push(cause);
          this.#wake();
        },
        onDrained: () => {
          this.drained++;
          this.#wake();
        },
      },
      { framing: "nul", deadline: 0, ...options },
    );
  }

  get texts(): string[] {
    return this.got.map(({ text }) => text);
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

function say(text: string, files: readonly FdHandle[] = [], socket = peer): number {
  return native.sendmsg(socket.fd, Buffer.from(text, "latin1"), 0, borrow(files).fds, files.length);
}

/** Everything that has arrived at the peer, and the files that came with it. */
function drainPeer(socket = peer): Got {
  const data = Buffer.alloc(65536);
  const received = new Int32Array(255);
  let text = "";
  const files: string[] = [];
  for (;;) {
    const size = native.recvmsg(socket.fd, data, 0, received);
    if (size <= 0) return { text, files };
    text += data.toString("latin1", 0, size);
    for (const fd of received.subarray(2, 2 + (received[0] ?? 0))) {
      files.push(fileOf(fd));
      native.close(fd);
    }
  }
}

/** Fires the wire's poll until there is nothing to do. */
function settle(poll: FakePoll): void {
  while (poll.turn());
}

/** Fills the socket so that the next send does not fit; returns how many bytes it took. */
function fill(socket: FdHandle): number {
  const chunk = Buffer.alloc(4096, "f");
  let total = 0;
  for (;;) {
    const sent = native.sendmsg(socket.fd, chunk, 0, new Int32Array(0), 0);
    if (sent === -EAGAIN) return total;
    total += sent;
  }
}

describe("receiving frames", () => {
  it("delivers frames in order, each with its own fds, without the NUL", async () => {
    const listening = new Listening();
    const file = memfd();
    say("a\0");
    say("b\0", [file, file]);
    say("\0c\0");
    await listening.until(() => listening.got.length === 4);
    expect(listening.texts).toEqual(["a", "b", "", "c"]);
    expect(listening.got[1]?.files).toEqual([fileOf(file), fileOf(file)]);
    file.close();
    listening.wire.close();
  });

  it("puts a frame together that was split at any byte, and gives it the fds of its first", () => {
    const file = memfd();
    const frame = "hello, world\0";
    for (let split = 1; split < frame.length; split++) {
      const [left, right] = socketPair();
      const listening = new Listening({ sys: scripted() }, left);
      const poll = lastPoll();
      say(frame.slice(0, split), [file], right);
      settle(poll);
      expect(listening.wire.receiving).toBe(true);
      say(`${frame.slice(split)}next\0`, [], right);
      settle(poll);
      expect(listening.got).toEqual([
        { text: "hello, world", files: [fileOf(file)] },
        { text: "next", files: [] },
      ]);
      expect(listening.wire.receiving).toBe(false);
      listening.wire.close();
      right.close();
    }
    file.close();
  });

  it("refuses fds in the middle of a frame, and closes those it had and those that came", async () => {
    const listening = new Listening();
    const file = memfd();
    say("begin", [file]);
    await vi.waitUntil(() => listening.wire.receiving, { timeout: 30_000 });
    say("end\0", [file]);
    await listening.until(() => listening.closed.length > 0);
    expect(listening.got).toEqual([]);
    expect(listening.closed[0]).toMatchObject({ code: "PROTOCOL_ERROR", message: /middle of a message/ });
    file.close();
  });

  it("delivers a frame of exactly maxMessage bytes, NUL included, and refuses one more", async () => {
    for (const maxMessage of [10, 100_000]) {
      const [left, right] = socketPair();
      const listening = new Listening({ maxMessage }, left);
      const sender = new Listening({}, right);
      sender.wire.send(Buffer.from(`${"x".repeat(maxMessage - 1)}\0`));
      sender.wire.send(Buffer.from(`${"y".repeat(maxMessage)}\0`));
      await listening.until(() => listening.closed.length > 0);
      expect(listening.texts).toEqual(["x".repeat(maxMessage - 1)]);
      expect(listening.closed[0]).toMatchObject({ code: "MESSAGE_TOO_LARGE" });
      sender.wire.close();
    }
  });

  it("refuses an endless frame when it is too large, long before it ends", async () => {
    const listening = new Listening({ maxMessage: 70_000 });
    const pump = new Listening({ maxQueue: 1e9 }, peer);
    pump.wire.send(Buffer.alloc(10_000_000, "x"));
    await listening.until(() => listening.closed.length > 0);
    expect(listening.closed[0]).toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    pump.wire.close();
  });

  it("ends without an error when a peer closes between frames, and with PROTOCOL_ERROR inside one", async () => {
    const file = memfd();
    const fine = new Listening();
    say("whole\0");
    peer.close();
    await fine.until(() => fine.closed.length > 0);
    expect([fine.texts, fine.closed]).toEqual([["whole"], [undefined]]);
    const [left, right] = socketPair();
    const cut = new Listening({}, left);
    say("par", [file], right);
    right.close();
    await cut.until(() => cut.closed.length > 0);
    expect([cut.texts, cut.closed]).toEqual([[], [expect.objectContaining({ code: "PROTOCOL_ERROR" })]]);
    file.close();
  });

  it("says DESCRIPTORS_TRUNCATED when the process could not open all fds (hazard 4)", () => {
    const listening = new Listening({ sys: scripted({ recvframe: () => -EMSGSIZE }) });
    lastPoll().fire(READABLE);
    expect(listening.closed).toEqual([expect.objectContaining({ code: "DESCRIPTORS_TRUNCATED" })]);
  });

  it("ends with the errno when receiving fails otherwise", () => {
    const listening = new Listening({ sys: scripted({ recvframe: () => -EIO }) });
    lastPoll().fire(READABLE);
    expect(listening.closed).toEqual([expect.objectContaining({ errnoName: "EIO", syscall: "recvmsg" })]);
  });

  it("drops a peer whose frame does not arrive within the deadline, however often a byte comes (hazard 10)", async () => {
    vi.useFakeTimers();
    const file = memfd();
    const listening = new Listening({ sys: scripted(), deadline: 100 });
    const poll = lastPoll();
    say("x", [file]);
    settle(poll);
    for (let at = 0; at < 9; at++) {
      vi.advanceTimersByTime(10);
      say("x");
      settle(poll);
    }
    expect(listening.closed).toEqual([]);
    vi.advanceTimersByTime(10);
    expect(listening.closed).toEqual([
      expect.objectContaining({ code: "PROTOCOL_ERROR", message: expect.stringContaining("100 ms") }),
    ]);
    file.close();
  });

  it("has no deadline for a peer that is silent between frames, and a new one for each frame", () => {
    vi.useFakeTimers();
    const listening = new Listening({ sys: scripted(), deadline: 100 });
    const poll = lastPoll();
    for (let frame = 0; frame < 3; frame++) {
      say("he");
      settle(poll);
      vi.advanceTimersByTime(90);
      say("llo\0");
      settle(poll);
      vi.advanceTimersByTime(1000);
    }
    expect([listening.texts, listening.closed]).toEqual([["hello", "hello", "hello"], []]);
    listening.wire.close();
  });

  it("reads nothing while told not to, and everything afterwards", () => {
    const listening = new Listening({ sys: scripted() });
    const poll = lastPoll();
    listening.wire.setReading(false);
    say("a\0b\0");
    settle(poll);
    expect(listening.texts).toEqual([]);
    listening.wire.setReading(true);
    settle(poll);
    expect(listening.texts).toEqual(["a", "b"]);
    listening.wire.close();
  });

  it("delivers nothing after close(), even of what one read brought; its fds are closed", () => {
    const file = memfd();
    const seen: string[] = [];
    const wire: Wire = new Wire(
      own,
      {
        onMessage: (bytes, length, fds) => {
          seen.push(bytes.toString("latin1", 0, length));
          closeAll(fds);
          if (seen.length === 13) wire.close();
        },
        onClosed: () => seen.push("closed"),
      },
      { framing: "nul", deadline: 0, sys: scripted() },
    );
    const poll = lastPoll();
    for (let at = 0; at < 12; at++) {
      say("steady\0");
      settle(poll);
    }
    say("a\0");
    say("b\0", [file]);
    say("c\0");
    settle(poll);
    expect(seen.slice(12)).toEqual(["a"]);
    file.close();
  });

  it("leaves fds that were delivered to their owner when the owner closes the wire in the same instant", () => {
    const file = memfd();
    const kept: FdHandle[] = [];
    let count = 0;
    const wire: Wire = new Wire(
      own,
      {
        onMessage: (_, __, fds) => {
          kept.push(...fds);
          if (++count === 14) wire.close();
        },
        onClosed: () => undefined,
      },
      { framing: "nul", deadline: 0, sys: scripted() },
    );
    const poll = lastPoll();
    for (let at = 0; at < 12; at++) {
      say("steady\0");
      settle(poll);
    }
    say("a\0");
    say("b\0", [file]);
    settle(poll);
    expect(wire.closed).toBe(true);
    expect(kept.map(fileOf)).toEqual([fileOf(file)]);
    closeAll(kept);
    file.close();
  });
});

describe("a steady peer", () => {
  const counting = (): { sys: Native; peeked: () => number } => {
    let peeked = 0;
    const sys = scripted({
      recvframe: (...args) => {
        peeked++;
        return native.recvframe(...args);
      },
    });
    return { sys, peeked: () => peeked };
  };

  it("is read without looking for the frame's end, which is looked for again when its habits change", () => {
    const { sys, peeked } = counting();
    const listening = new Listening({ sys });
    const poll = lastPoll();
    for (let at = 0; at < 30; at++) {
      say("ping\0");
      settle(poll);
    }
    expect(peeked()).toBeLessThan(12);
    const before = peeked();
    say("longer than a ping\0");
    settle(poll);
    expect(peeked()).toBeGreaterThan(before);
    expect(listening.texts).toEqual([...new Array<string>(30).fill("ping"), "longer than a ping"]);
    listening.wire.close();
  });

  it.each([
    ["shorter frames", ["p\0", "q\0", "r\0"]],
    ["a longer frame", ["a much longer one\0"]],
    ["a shorter and a longer frame", ["p\0", "a much longer one\0"]],
    ["frames of the same length", ["pong\0", "pung\0"]],
    ["an empty frame first", ["\0", "ping\0"]],
    ["empty frames", ["\0", "\0", "\0", "\0", "\0", "\0", "\0"]],
  ])("that begins to pipeline %s loses none, and each fd goes with its frame", (_, frames) => {
    for (let withFd = -1; withFd < frames.length; withFd++) {
      const [left, right] = socketPair();
      const file = memfd();
      const listening = new Listening({ sys: scripted() }, left);
      const poll = lastPoll();
      for (let at = 0; at < 12; at++) {
        say("ping\0", [], right);
        settle(poll);
      }
      frames.forEach((frame, at) => void say(frame, at === withFd ? [file] : [], right));
      settle(poll);
      expect(listening.got.slice(12)).toEqual(
        frames.map((frame, at) => ({ text: frame.slice(0, -1), files: at === withFd ? [fileOf(file)] : [] })),
      );
      listening.wire.close();
      right.close();
      file.close();
    }
  });
});

describe("sending", () => {
  it("is at once where the kernel takes it: nothing is queued or duplicated", () => {
    const dup = vi.fn(native.dup);
    const listening = new Listening({ sys: scripted({ dup }) });
    const file = memfd();
    expect(listening.wire.send(Buffer.from("x"), borrow([file]))).toBe(true);
    expect([listening.wire.queued, dup.mock.calls.length]).toEqual([false, 0]);
    expect(drainPeer()).toEqual({ text: "x", files: [fileOf(file)] });
    file.close();
    listening.wire.close();
  });

  it("pins what a queued message borrowed: a number closed and reused cannot send another file (hazard 2)", () => {
    const listening = new Listening({ sys: scripted() });
    const poll = lastPoll();
    fill(own);
    const file = memfd("the right one");
    const number = file.fd;
    const right = fileOf(file);
    expect(listening.wire.send(Buffer.from("x"), borrow([file]))).toBe(true);
    expect(listening.wire.queued).toBe(true);
    file.close();
    const other = memfd("another");
    expect(other.fd).toBe(number);
    drainPeer();
    settle(poll);
    expect(drainPeer()).toEqual({ text: "x", files: [right] });
    expect([listening.wire.queued, listening.drained]).toEqual([false, 1]);
    other.close();
    listening.wire.close();
  });

  it.each([
    ["at once", false],
    ["from the queue", true],
  ])("sends fds exactly once with a message that goes out in parts, %s (hazard 10)", (_, queued) => {
    const partial: Native["sendmsg"] = (socket, data, offset, fds, count) =>
      native.sendmsg(socket, data.subarray(0, Math.min(data.length, offset + 3)), offset, fds, count);
    const listening = new Listening({ sys: scripted({ sendmsg: partial }) });
    const poll = lastPoll();
    const file = memfd();
    if (queued) fill(own);
    expect(listening.wire.send(Buffer.from("0123456789"), borrow([file]))).toBe(true);
    expect(listening.wire.send(Buffer.from("behind"))).toBe(true);
    drainedUntil(poll);
    function drainedUntil(at: FakePoll): void {
      const all = { text: "", files: [] as string[] };
      for (;;) {
        const got = drainPeer();
        all.text += got.text.replace(/^f+/, "");
        all.files.push(...got.files);
        if (!at.turn()) break;
      }
      expect(all).toEqual({ text: "0123456789behind", files: [fileOf(file)] });
    }
    file.close();
    listening.wire.close();
  });

  it("backs off from ETOOMANYREFS by time, not by writability, and loses nothing (hazard 5)", () => {
    vi.useFakeTimers();
    let refuse = 4;
    const sendmsg: Native["sendmsg"] = (...args) => (refuse-- > 0 ? -ETOOMANYREFS : native.sendmsg(...args));
    const listening = new Listening({ sys: scripted({ sendmsg }) });
    const poll = lastPoll();
    const file = memfd();
    expect(listening.wire.send(Buffer.from("a"), borrow([file]))).toBe(true);
    expect(listening.wire.send(Buffer.from("b"))).toBe(true);
    expect(poll.events & WRITABLE).toBe(0);
    vi.advanceTimersByTime(4);
    expect(refuse).toBe(3);
    vi.advanceTimersByTime(1000);
    expect(refuse).toBeLessThan(0);
    expect(drainPeer()).toEqual({ text: "ab", files: [fileOf(file)] });
    expect(listening.drained).toBe(1);
    file.close();
    listening.wire.close();
  });

  it("closed during the back-off, sends nothing later", () => {
    vi.useFakeTimers();
    const sendmsg = vi.fn<Native["sendmsg"]>(() => -ETOOMANYREFS);
    const listening = new Listening({ sys: scripted({ sendmsg }) });
    listening.wire.send(Buffer.from("a"));
    listening.wire.close();
    vi.advanceTimersByTime(10_000);
    expect(sendmsg).toHaveBeenCalledTimes(1);
    expect(listening.drained).toBe(0);
  });

  it("fails the connection, after the caller has returned, when it has no descriptors to pin with", async () => {
    let left = 1;
    const dup: Native["dup"] = (fd) => (left-- > 0 ? native.dup(fd) : -EMFILE);
    const listening = new Listening({ sys: scripted({ dup }) });
    const file = memfd();
    fill(own);
    expect(listening.wire.send(Buffer.from("x"), borrow([file, file]))).toBe(false);
    expect(listening.closed).toEqual([]);
    expect(listening.wire.send(Buffer.from("y"))).toBe(false);
    await listening.until(() => listening.closed.length > 0);
    expect(listening.closed).toEqual([expect.objectContaining({ errnoName: "EMFILE" })]);
    file.close();
  });

  it("refuses what exceeds the queue's bound, sends what it had accepted, and goes on", () => {
    const listening = new Listening({ sys: scripted(), maxQueue: 100 });
    const poll = lastPoll();
    const file = memfd();
    fill(own);
    expect(listening.wire.send(Buffer.alloc(60, "a"))).toBe(true);
    expect(listening.wire.send(Buffer.alloc(41, "b"), borrow([file]))).toBe(false);
    expect(listening.wire.send(Buffer.alloc(40, "c"))).toBe(true);
    expect(listening.wire.send(Buffer.alloc(1, "d"))).toBe(false);
    drainPeer();
    settle(poll);
    expect(listening.wire.send(Buffer.from("e"))).toBe(true);
    expect(drainPeer()).toEqual({ text: `${"a".repeat(60)}${"c".repeat(40)}e`, files: [] });
    file.close();
    listening.wire.close();
  });

  it("takes one message of any length when none waits", () => {
    const listening = new Listening({ sys: scripted(), maxQueue: 100 });
    fill(own);
    expect(listening.wire.send(Buffer.alloc(1000))).toBe(true);
    expect(listening.wire.send(Buffer.alloc(1))).toBe(false);
    listening.wire.close();
  });

  it("drops a peer that does not read within the deadline, and not one that reads slowly", () => {
    vi.useFakeTimers();
    const listening = new Listening({ sys: scripted(), deadline: 100 });
    const poll = lastPoll();
    fill(own);
    listening.wire.send(Buffer.alloc(2_000_000));
    for (let at = 0; at < 5; at++) {
      vi.advanceTimersByTime(90);
      drainPeer();
      poll.turn();
    }
    expect([listening.closed, listening.wire.queued]).toEqual([[], true]);
    vi.advanceTimersByTime(100);
    expect(listening.closed).toEqual([
      expect.objectContaining({ code: "CONNECTION_CLOSED", message: expect.stringContaining("100 ms") }),
    ]);
  });

  it("end() sends what is queued, then closes; nothing is sent or read after it", () => {
    const listening = new Listening({ sys: scripted() });
    const poll = lastPoll();
    fill(own);
    listening.wire.send(Buffer.from("last"));
    listening.wire.end();
    expect(listening.wire.send(Buffer.from("no"))).toBe(false);
    say("ignored\0");
    drainPeer();
    settle(poll);
    expect(drainPeer().text).toBe("last");
    expect([listening.texts, listening.closed]).toEqual([[], [undefined]]);
  });

  it("close() with a queue closes the pinned descriptors, and calls no handler", () => {
    const listening = new Listening();
    const file = memfd();
    fill(own);
    listening.wire.send(Buffer.from("x"), borrow([file]));
    listening.wire.close();
    listening.wire.close();
    file.close();
    expect([listening.closed, listening.wire.send(Buffer.from("y"))]).toEqual([[], false]);
  });
});

describe("a peer that has gone", () => {
  it("is heard to its last word when a send finds it gone", async () => {
    const listening = new Listening();
    const file = memfd();
    say("refused: too many\0", [file]);
    peer.close();
    expect(listening.wire.send(Buffer.from("call\0"))).toBe(false);
    expect(listening.closed).toEqual([]);
    await listening.until(() => listening.closed.length > 0);
    expect(listening.got).toEqual([{ text: "refused: too many", files: [fileOf(file)] }]);
    expect(listening.closed).toEqual([undefined]);
    file.close();
  });

  it("is heard to its last word when it closed before it had read everything (POLLERR)", async () => {
    const listening = new Listening();
    expect(listening.wire.send(Buffer.from("never read"))).toBe(true);
    say("one\0");
    say("two\0");
    peer.close();
    await listening.until(() => listening.closed.length > 0);
    expect(listening.texts).toEqual(["one", "two"]);
    expect(listening.closed).toEqual([expect.objectContaining({ errnoName: "ECONNRESET" })]);
  });

  it("is heard even when the queue finds it gone", async () => {
    const listening = new Listening();
    fill(own);
    listening.wire.send(Buffer.from("queued"));
    say("bye\0");
    peer.close();
    await listening.until(() => listening.closed.length > 0);
    expect(listening.texts).toEqual(["bye"]);
  });

  it("that only stopped reading is dropped, and cannot keep us listening", async () => {
    const listening = new Listening();
    native.shutdown(peer.fd, 0);
    expect(listening.wire.send(Buffer.from("x"))).toBe(false);
    await listening.until(() => listening.closed.length > 0);
    expect(listening.closed).toEqual([expect.objectContaining({ errnoName: "EPIPE" })]);
  });
});

describe("messages without framing", () => {
  it("keeps the boundaries of a seqpacket, zero bytes with fds included, and ends when the peer closes", async () => {
    const [left, right] = socketPair(SOCK_SEQPACKET);
    const listening = new Listening({ framing: "message" }, left);
    const file = memfd();
    say("one", [file], right);
    say("two\0three", [], right);
    right.close();
    await listening.until(() => listening.closed.length > 0);
    expect(listening.got).toEqual([
      { text: "one", files: [fileOf(file)] },
      { text: "two\0three", files: [] },
    ]);
    expect(listening.closed).toEqual([undefined]);
    file.close();
  });

  it("refuses a message that was cut, and closes its fds", async () => {
    const [left, right] = socketPair(SOCK_SEQPACKET);
    const listening = new Listening({ framing: "message" }, left);
    const file = memfd();
    say("x".repeat(70_000), [file], right);
    await listening.until(() => listening.closed.length > 0);
    expect(listening.closed).toEqual([expect.objectContaining({ code: "MESSAGE_TOO_LARGE" })]);
    expect(listening.got).toEqual([]);
    file.close();
    right.close();
  });
});

it("a descriptor that cannot be polled ends the wire instead of hanging it", async () => {
  const listening = new Listening({}, memfd());
  await listening.until(() => listening.closed.length > 0);
  expect(listening.closed).toEqual([expect.objectContaining({ errnoName: "ENOTSOCK" })]);
});

describe("any sequence of frames, chunks and turns", () => {
  const frame = fc.record({
    length: fc.oneof(
      fc.constantFrom(4, 4, 4),
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 60_000, max: 150_000 }),
    ),
    fds: fc.constantFrom(0, 0, 0, 1, 2),
  });
  const frames = fc.array(frame, { maxLength: 40 });
  const steps = fc.array(fc.constantFrom("send", "receive", "flush"), { minLength: 1, maxLength: 60 });

  /** Runs the frames through a sender and a receiver whose turns the schedule gives; returns what arrived. */
  function run(
    list: readonly { length: number; fds: number }[],
    schedule: readonly string[],
    framing: "nul" | "message",
    chunk: number | undefined,
    files: readonly FdHandle[],
  ): { sent: Got[]; got: Got[] } {
    const [left, right] = socketPair(framing === "nul" ? undefined : SOCK_SEQPACKET);
    const sendmsg: Native["sendmsg"] = (socket, data, offset, fds, count) =>
      native.sendmsg(
        socket,
        data.subarray(0, Math.min(data.length, offset + (chunk ?? data.length))),
        offset,
        fds,
        count,
      );
    const receiver = new Listening({ sys: scripted(), framing }, left);
    const receiving = lastPoll();
    const sender = new Listening({ sys: scripted({ sendmsg }), framing, maxQueue: 1e9 }, right);
    const sending = lastPoll();
    const sent: Got[] = [];
    let next = 0;
    const send = (): void => {
      const message = list[next];
      if (message === undefined) return;
      const length = framing === "nul" ? message.length : Math.min(message.length + 1, 60_000);
      const letter = String.fromCharCode(97 + (next % 26));
      const carried = files.slice(0, message.fds);
      next++;
      sent.push({ text: letter.repeat(length), files: carried.map(fileOf) });
      const bytes = Buffer.from(`${letter.repeat(length)}${framing === "nul" ? "\0" : ""}`);
      expect(sender.wire.send(bytes, borrow(carried))).toBe(true);
    };
    for (let at = 0; next < list.length; at++) {
      const step = schedule[at % schedule.length];
      if (step === "send" || !schedule.includes("send")) send();
      if (step === "receive") receiving.turn();
      if (step === "flush") sending.turn();
    }
    while (sending.turn() || receiving.turn());
    receiver.wire.close();
    sender.wire.close();
    expect([...receiver.closed, ...sender.closed]).toEqual([]);
    return { sent, got: receiver.got };
  }

  it.each([
    ["NUL frames, each in one sendmsg where it fits", "nul", false],
    ["NUL frames, sent in chunks of any size", "nul", true],
    ["seqpacket messages", "message", false],
  ] as const)("arrives once, whole, in order and with its fds: %s", (_, framing, chunked) => {
    const files = [memfd("0"), memfd("1")];
    const chunk = chunked ? fc.integer({ min: 3, max: 9000 }) : fc.constant(undefined);
    fc.assert(
      fc.property(frames, steps, chunk, (list, schedule, size) => {
        const small =
          size === undefined ? list : list.map((one) => ({ ...one, length: Math.min(one.length, size * 50) }));
        const { sent, got } = run(small, schedule, framing, size, files);
        expect(got.map(({ text, files: own }) => [text.length, text[0], own])).toEqual(
          sent.map(({ text, files: own }) => [text.length, text[0], own]),
        );
        expect(got.every(({ text }, at) => text === sent[at]?.text)).toBe(true);
      }),
      { numRuns: 150 },
    );
    closeAll(files);
  });
});

it("nothing stays behind after a thousand messages with fds both ways", async () => {
  const [left, right] = socketPair();
  const start = openFds();
  const there = new Listening({}, left);
  const back = new Listening({}, right);
  const file = memfd();
  for (let at = 0; at < 1000; at++) {
    there.wire.send(Buffer.from(`${at}\0`), borrow([file]));
    back.wire.send(Buffer.from(`${at}\0`), borrow([file, file]));
  }
  await Promise.all([there, back].map((side) => side.until(() => side.got.length === 1000)));
  expect(there.got.every(({ files }) => files.length === 2)).toBe(true);
  file.close();
  await expectFdsAgain(start);
  there.wire.close();
  back.wire.close();
});
