import { constants } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FdHandle } from "../../src/fd.ts";
import { MAX_FDS, native, RECEIVED_LENGTH } from "../../src/native.ts";
import { SO_PASSCRED, SO_PASSPIDFD, SOL_SOCKET } from "../../src/net/socket-constants.ts";
import { SOCK_DGRAM, SOCK_SEQPACKET } from "../../src/net/transport.ts";
import { runWithAddon } from "../support/addon-child.ts";
import { leaksNothing, openFds } from "../support/fds.ts";
import { fileOf, memfd, socketPair } from "../support/sockets.ts";
import { limitedTo } from "../support/wrap.ts";

const { EAGAIN, EBADF, EINVAL, EMSGSIZE, EPIPE, ENOTSOCK } = constants.errno;
const FD_CLOEXEC = 1;
const MSG_TRUNC = 0x20;

leaksNothing();
let a: FdHandle;
let b: FdHandle;
let file: FdHandle;
const data = Buffer.alloc(4096);
const received = new Int32Array(RECEIVED_LENGTH);

beforeEach(() => {
  [a, b] = socketPair();
  file = memfd();
});

afterEach(() => {
  for (const handle of [a, b, file]) handle.close();
});

function send(text: string, fds: readonly number[] = [], socket = a): number {
  return native.sendmsg(socket.fd, Buffer.from(text), 0, Int32Array.from(fds), fds.length);
}

function receive(socket = b, into = received): { size: number; text: string; fds: number[] } {
  const size = native.recvmsg(socket.fd, data, 0, into);
  const fds = size < 0 ? [] : [...into.subarray(2, 2 + (into[0] ?? 0))];
  return { size, text: size < 0 ? "" : data.toString("latin1", 0, size), fds };
}

function receiveFrame(into = data, offset = 0): { size: number; text: string; fds: number[] } {
  const size = native.recvframe(b.fd, into, offset, received);
  return {
    size,
    text: size < 0 ? "" : into.toString("latin1", offset, offset + size),
    fds: [...received.subarray(2, 2 + (received[0] ?? 0))],
  };
}

function close(fds: readonly number[]): void {
  for (const fd of fds) expect(native.close(fd)).toBe(0);
}

describe("sendmsg and recvmsg", () => {
  it("pass bytes from an offset, and fds that are duplicates with CLOEXEC set", () => {
    expect(native.sendmsg(a.fd, Buffer.from("xxhello"), 2, Int32Array.of(file.fd, file.fd), 2)).toBe(5);
    const { size, text, fds } = receive();
    expect([size, text, fds.length]).toEqual([5, "hello", 2]);
    for (const fd of fds) {
      expect(fileOf(fd)).toBe(fileOf(file));
      expect(native.getfd(fd)).toBe(FD_CLOEXEC);
    }
    close(fds);
  });

  it("receive into the buffer from an offset and leave what is before it alone", () => {
    send("new");
    data.fill(0x2e);
    expect(native.recvmsg(b.fd, data, 3, received)).toBe(3);
    expect(data.toString("latin1", 0, 7)).toBe("...new.");
  });

  it("pass 253 fds in one message (SCM_MAX_FD)", () => {
    expect(send("x", new Array<number>(MAX_FDS).fill(file.fd))).toBe(1);
    const { fds } = receive();
    expect(fds.length).toBe(MAX_FDS);
    expect(new Set(fds).size).toBe(MAX_FDS);
    close(fds);
  });

  it("refuse 254 fds before the system call: nothing is sent (hazard 1)", () => {
    expect(send("x", new Array<number>(MAX_FDS + 1).fill(file.fd))).toBe(-EINVAL);
    expect(receive().size).toBe(-EAGAIN);
  });

  it("refuse a message of no bytes, with fds or without (hazard 9)", () => {
    expect(send("", [file.fd])).toBe(-EINVAL);
    expect(native.sendmsg(a.fd, Buffer.from("abc"), 3, new Int32Array(0), 0)).toBe(-EINVAL);
    expect(native.sendmsg(a.fd, Buffer.from("abc"), -1, new Int32Array(0), 0)).toBe(-EINVAL);
    expect(receive().size).toBe(-EAGAIN);
  });

  it("refuse a count that exceeds the array or is negative", () => {
    expect(native.sendmsg(a.fd, Buffer.from("x"), 0, Int32Array.of(file.fd), 2)).toBe(-EINVAL);
    expect(native.sendmsg(a.fd, Buffer.from("x"), 0, Int32Array.of(file.fd), -1)).toBe(-EINVAL);
    expect(receive().size).toBe(-EAGAIN);
  });

  it("send only the first `count` of the fds", () => {
    const other = memfd("other");
    expect(native.sendmsg(a.fd, Buffer.from("x"), 0, Int32Array.of(file.fd, other.fd), 1)).toBe(1);
    const { fds } = receive();
    expect(fds.map(fileOf)).toEqual([fileOf(file)]);
    close(fds);
    other.close();
  });

  it("say EBADF for an fd that is not open, and send nothing", () => {
    expect(send("x", [file.fd, 9999])).toBe(-EBADF);
    expect(receive().size).toBe(-EAGAIN);
  });

  it("say EAGAIN, EPIPE without a signal, EBADF and ENOTSOCK", () => {
    expect(receive().size).toBe(-EAGAIN);
    expect(send("x", [], file)).toBe(-ENOTSOCK);
    expect(native.recvmsg(9999, data, 0, received)).toBe(-EBADF);
    b.close();
    expect(send("x")).toBe(-EPIPE);
    expect(receive(a).size).toBe(0);
  });

  it("say EAGAIN when the buffer is full instead of waiting", () => {
    const chunk = Buffer.alloc(65536);
    let sent = 0;
    for (let at = 0; at < 1000 && sent >= 0; at++) sent = native.sendmsg(a.fd, chunk, 0, new Int32Array(0), 0);
    expect(sent).toBe(-EAGAIN);
  });

  it.each([
    ["seqpacket", SOCK_SEQPACKET],
    ["datagram", SOCK_DGRAM],
  ])("keep the boundaries of %s messages, and say MSG_TRUNC for one that did not fit", (_, type) => {
    const [left, right] = socketPair(type);
    send("one", [file.fd], left);
    send("second", [], left);
    const first = receive(right);
    expect([first.text, first.fds.length]).toEqual(["one", 1]);
    close(first.fds);
    expect(native.recvmsg(right.fd, Buffer.alloc(3), 0, received)).toBe(3);
    expect((received[1] ?? 0) & MSG_TRUNC).toBe(MSG_TRUNC);
    expect(receive(right).size).toBe(-EAGAIN);
    left.close();
    right.close();
  });

  it("close every fd of a message that has more than the caller has room for (hazard 3)", () => {
    const small = new Int32Array(3);
    send("x", [file.fd, file.fd]);
    const open = openFds();
    expect(receive(b, small).size).toBe(-EMSGSIZE);
    expect(openFds()).toEqual(open);
    send("y");
    expect(receive(b, small)).toEqual({ size: 1, text: "y", fds: [] });
  });

  it("close every fd of a message cut short by RLIMIT_NOFILE, and go on (hazard 4)", async () => {
    const { stdout, stderr, code } = await runWithAddon(
      `const { readdirSync } = require("node:fs");
       const count = () => readdirSync("/proc/self/fd").length;
       const pair = new Int32Array(2);
       sys.socketpair(1, 1, pair);
       const received = new Int32Array(255);
       const data = Buffer.alloc(16);
       const spare = 40 - count();
       // As many as the limit leaves room for, and twice that.
       sys.sendmsg(pair[0], Buffer.from("x"), 0, new Int32Array(2 * spare).fill(1), 2 * spare);
       sys.sendmsg(pair[0], Buffer.from("y"), 0, Int32Array.of(1), 1);
       const before = count();
       const truncated = sys.recvmsg(pair[1], data, 0, received);
       const after = count();
       const next = sys.recvmsg(pair[1], data, 0, received);
       console.log(JSON.stringify({ truncated, leaked: after - before, next, fds: received[0] }));`,
      { wrap: limitedTo(40) },
    );
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(JSON.parse(stdout)).toEqual({ truncated: -EMSGSIZE, leaked: 0, next: 1, fds: 1 });
  });

  it("refuse a buffer without room before reading", () => {
    send("x", [file.fd]);
    expect(() => native.recvmsg(b.fd, data, data.length, received)).toThrow(TypeError);
    expect(() => native.recvmsg(b.fd, data, -1, received)).toThrow(TypeError);
    expect(() => native.recvmsg(b.fd, data, 0, new Int32Array(1))).toThrow(TypeError);
    const { text, fds } = receive();
    expect([text, fds.length]).toEqual(["x", 1]);
    close(fds);
  });
});

describe("recvframe", () => {
  it("takes no byte beyond the first NUL, so that fds stay with their own frame (hazard 8)", () => {
    send("first\0");
    send("second\0", [file.fd]);
    expect(receiveFrame()).toEqual({ size: 6, text: "first\0", fds: [] });
    const second = receiveFrame();
    expect([second.text, second.fds.map(fileOf)]).toEqual(["second\0", [fileOf(file)]]);
    close(second.fds);
    expect(receiveFrame().size).toBe(-EAGAIN);
  });

  it("shows what recvmsg alone would do: the fds of the second frame come with the first", () => {
    send("first\0");
    send("second\0", [file.fd]);
    const { text, fds } = receive();
    expect([text, fds.length]).toEqual(["first\0second\0", 1]);
    close(fds);
  });

  it("gives a part without NUL, and then the rest", () => {
    send("par", [file.fd]);
    const part = receiveFrame();
    expect([part.text, part.fds.length]).toEqual(["par", 1]);
    close(part.fds);
    send("t\0next\0");
    expect(receiveFrame().text).toBe("t\0");
    expect(receiveFrame().text).toBe("next\0");
  });

  it("does not look beyond the room it has", () => {
    send("abcdef\0");
    const small = Buffer.alloc(6);
    expect(receiveFrame(small, 2).text).toBe("abcd");
    expect(receiveFrame(small, 2).text).toBe("ef\0");
  });

  it("finds a NUL that is the first byte, and the last that fits", () => {
    send("\0ab\0");
    expect(receiveFrame().text).toBe("\0");
    expect(receiveFrame(Buffer.alloc(3)).text).toBe("ab\0");
  });

  it("says 0 at the end, EAGAIN when there is nothing, and no stale fds", () => {
    received.fill(7);
    expect(receiveFrame()).toEqual({ size: -EAGAIN, text: "", fds: [] });
    a.close();
    received.fill(7);
    expect(receiveFrame()).toEqual({ size: 0, text: "", fds: [] });
  });

  it("does not duplicate fds by peeking (hazard 9)", () => {
    send("x\0", [file.fd]);
    const open = openFds().length;
    const { fds } = receiveFrame();
    expect(openFds().length).toBe(open + 1);
    close(fds);
  });
});

describe("recvcred", () => {
  const sender = new Int32Array(4);

  it("says who sent it, with a pidfd, beside the fds", () => {
    expect(native.setsockopt(b.fd, SOL_SOCKET, SO_PASSCRED, 1)).toBe(0);
    const hasPidfd = native.setsockopt(b.fd, SOL_SOCKET, SO_PASSPIDFD, 1) === 0; // Linux 6.5
    send("x", [file.fd, file.fd]);
    expect(native.recvcred(b.fd, data, 0, received, sender)).toBe(1);
    expect([...sender.subarray(0, 3)]).toEqual([process.pid, process.getuid?.(), process.getgid?.()]);
    expect(received[0]).toBe(2);
    close([...received.subarray(2, 4)]);
    const pidfd = sender[3] ?? -1;
    expect(pidfd >= 0).toBe(hasPidfd);
    if (!hasPidfd) return;
    expect(native.getfd(pidfd)).toBe(FD_CLOEXEC);
    expect(native.pidfdSignal(pidfd, 0)).toBe(0);
    close([pidfd]);
  });

  it("leaves no pidfd open when the message was truncated", () => {
    native.setsockopt(b.fd, SOL_SOCKET, SO_PASSPIDFD, 1);
    send("x", [file.fd, file.fd]);
    expect(native.recvcred(b.fd, data, 0, new Int32Array(3), sender)).toBe(-EMSGSIZE);
    expect(sender[3]).toBe(-1);
  });

  it("gives no sender where the socket did not ask for credentials", () => {
    sender.fill(7);
    send("x");
    expect(native.recvcred(b.fd, data, 0, received, sender)).toBe(1);
    expect([...sender]).toEqual([0, -1, -1, -1]);
    expect(native.recvcred(b.fd, data, 0, received, sender)).toBe(-EAGAIN);
    expect(() => native.recvcred(b.fd, data, 0, received, new Int32Array(3))).toThrow(TypeError);
  });
});
