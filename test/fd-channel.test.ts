import { once } from "node:events";
import { Socket } from "node:net";
import { constants } from "node:os";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FdHandle } from "../src/fd.ts";
import { FdChannel, type FdMessage, recvFds, sendFds } from "../src/fd-channel.ts";
import { MAX_FDS, native } from "../src/native.ts";
import { SOCK_SEQPACKET } from "../src/net/transport.ts";
import { runWithAddon } from "./support/addon-child.ts";
import { leaksNothing } from "./support/fds.ts";
import { fileOf, memfd, socketPair } from "./support/sockets.ts";
import { limitedTo } from "./support/wrap.ts";

const { EAGAIN } = constants.errno;

leaksNothing("soon");
let file: FdHandle;

beforeEach(() => {
  file = memfd();
});

afterEach(() => {
  file.close();
});

async function next(channel: FdChannel): Promise<FdMessage> {
  const message = await channel.receive();
  if (message === undefined) throw new Error("the channel ended");
  return message;
}

describe("FdChannel", () => {
  it.each(["stream", "seqpacket", "datagram"] as const)("passes bytes and fds over a %s pair", async (kind) => {
    const [left, right] = FdChannel.pair(kind);
    await left.send("hello", [file, file]);
    using message = await next(right);
    expect(message.data.toString()).toBe("hello");
    expect(message.fds.map(fileOf)).toEqual([fileOf(file), fileOf(file)]);
    left.close();
    right.close();
  });

  it("waits while the peer does not read, and loses nothing once it does", async () => {
    const [left, right] = FdChannel.pair();
    const bytes = Buffer.alloc(50_000, "x");
    const count = 300;
    let sent = 0;
    const sending = (async () => {
      for (; sent < count; sent++) await left.send(bytes, [file]);
    })();
    for (let turn = 0; turn < 50; turn++) await setImmediate();
    expect(sent).toBeLessThan(count);
    for (let received = 0; received < count; received++) {
      using message = await next(right);
      expect([message.data.length, message.fds.length]).toEqual([50_000, 1]);
    }
    await sending;
    left.close();
    right.close();
  });

  it("an aborted receive takes nothing: the message that comes later is the next receive's", async () => {
    const [left, right] = FdChannel.pair();
    const controller = new AbortController();
    const waiting = right.receive({ signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await left.send("late", [file]);
    using message = await next(right);
    expect([message.data.toString(), message.fds.length]).toEqual(["late", 1]);
    left.close();
    right.close();
  });

  it("a signal aborted before rejects, although a message is there or could be sent", async () => {
    const [left, right] = FdChannel.pair();
    const signal = AbortSignal.abort();
    await left.send("here");
    await expect(right.receive({ signal })).rejects.toThrow("aborted");
    await expect(left.send("not sent", [], { signal })).rejects.toThrow("aborted");
    expect((await next(right)).data.toString()).toBe("here");
    left.close();
    expect(await right.receive()).toBeUndefined();
    right.close();
  });

  it("an aborted send that waited for room sends nothing", async () => {
    const [left, right] = FdChannel.pair();
    const bytes = Buffer.alloc(50_000);
    const controller = new AbortController();
    let sent = 0;
    const sending = (async () => {
      for (;;) {
        await left.send(bytes, [file], { signal: controller.signal });
        sent++;
      }
    })();
    const failed = expect(sending).rejects.toThrow("no more");
    for (let turn = 0; turn < 50; turn++) await setImmediate();
    controller.abort(new Error("no more"));
    await failed;
    for (let received = 0; received < sent; received++) (await next(right))[Symbol.dispose]();
    await left.send("the very next");
    expect((await next(right)).data.toString()).toBe("the very next");
    left.close();
    right.close();
  });

  it("close() closes the fds that nobody received, ends waiting receives, and is idempotent", async () => {
    const [left, right] = FdChannel.pair();
    await left.send("a", [file]);
    await left.send("b", [file]);
    const first = await next(right); // the second one may have been read, and waits
    first[Symbol.dispose]();
    const waiting = left.receive();
    left.close();
    left.close();
    right.close();
    expect(await waiting).toBeUndefined();
    expect(await left.receive()).toBeUndefined();
    await expect(left.send("c")).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
  });

  it("gives what had come before the peer closed, then the end", async () => {
    const [left, right] = FdChannel.pair();
    for (let at = 0; at < 40; at++) await left.send(`message ${at}`, [file]);
    left.close();
    const texts: string[] = [];
    for await (const message of right) {
      texts.push(message.data.toString());
      message[Symbol.dispose]();
    }
    expect(texts).toEqual(Array.from({ length: 40 }, (_, at) => `message ${at}`));
    right.close();
  });

  it("send to a peer that has gone rejects with the reason", async () => {
    const [left, right] = FdChannel.pair();
    right.close();
    await expect(left.send("x", [file])).rejects.toMatchObject({ code: "CONNECTION_CLOSED" });
    left.close();
  });

  it("send of what the kernel cannot take at all says its errno", async () => {
    const [left, right] = FdChannel.pair();
    await expect(left.send(Buffer.alloc(50_000_000))).rejects.toMatchObject({ errnoName: "EMSGSIZE" });
    left.close();
    right.close();
  });

  it("leaving the iteration leaves the channel open", async () => {
    const [left, right] = FdChannel.pair();
    await left.send("a");
    await left.send("b");
    for await (const { data } of right) {
      expect(data.toString()).toBe("a");
      break;
    }
    expect((await next(right)).data.toString()).toBe("b");
    left.close();
    right.close();
  });

  it("refuses no bytes, more than 253 fds, and a closed handle, before anything is sent", async () => {
    const [left, right] = FdChannel.pair();
    await expect(left.send("", [file])).rejects.toMatchObject({ code: "PROTOCOL_ERROR" });
    const many = new Array<FdHandle>(MAX_FDS + 1).fill(file);
    await expect(left.send("x", many)).rejects.toMatchObject({ code: "TOO_MANY_DESCRIPTORS" });
    const closed = memfd();
    closed.close();
    await expect(left.send("x", [closed])).rejects.toMatchObject({ code: "DESCRIPTOR_CLOSED" });
    await left.send("fine", many.slice(1));
    using message = await next(right);
    expect([message.data.toString(), message.fds.length]).toEqual(["fine", MAX_FDS]);
    left.close();
    right.close();
  });
});

describe("sendFds and recvFds", () => {
  it("pass fds over a socket that stays the caller's, with one byte of their own when none are given", async () => {
    const [left, right] = socketPair();
    await sendFds(left.fd, [file]);
    const message = await recvFds(right.fd);
    expect([message?.data.toString("latin1"), message?.fds.map(fileOf)]).toEqual(["\0", [fileOf(file)]]);
    message?.[Symbol.dispose]();
    expect(native.getfd(left.fd)).toBe(1);
    left.close();
    expect(await recvFds(right.fd)).toBeUndefined();
    right.close();
  });

  it("sendFds takes a net.Socket: the fds follow all that was written to it, and it goes on", async () => {
    const [left, right] = socketPair();
    const socket = new Socket({ fd: left.steal() });
    const before = Buffer.alloc(1_000_000, "x");
    socket.write(before);
    const sending = sendFds(socket, [file], "fds");
    const parts: Buffer[] = [];
    let end = -1;
    for (let length = 0; length < before.length + 3; ) {
      using part = await recvFds(right.fd);
      if (part === undefined) break;
      parts.push(part.data);
      length += part.data.length;
      // The kernel ends what one call receives after a part with fds.
      if (part.fds.length > 0) end = length;
    }
    await sending;
    expect([end, Buffer.concat(parts).toString("latin1", before.length)]).toEqual([before.length + 3, "fds"]);
    socket.write("after");
    using after = await recvFds(right.fd);
    expect(after?.data.toString()).toBe("after");
    socket.destroy();
    await once(socket, "close");
    await expect(sendFds(socket, [file])).rejects.toMatchObject({ code: "DESCRIPTOR_CLOSED" });
    right.close();
  });

  it("sendFds to a net.Socket that does not drain ends with the signal's reason", async () => {
    const [left, right] = socketPair();
    const socket = new Socket({ fd: left.steal() });
    socket.write(Buffer.alloc(3_000_000));
    const controller = new AbortController();
    const sending = sendFds(socket, [file], "fds", { signal: controller.signal });
    controller.abort(new Error("no longer"));
    await expect(sending).rejects.toThrow("no longer");
    const closed = once(socket, "close");
    socket.destroy();
    await closed;
    right.close();
  });

  it("waits for a message, and for room; both directions of one socket may wait at once", async () => {
    const [left, right] = socketPair();
    const bytes = Buffer.alloc(3_000_000, "x");
    const receiving = recvFds(left.fd);
    const sending = sendFds(left.fd, [file], bytes);
    await setImmediate();
    let total = 0;
    let fds = 0;
    while (total < bytes.length) {
      using part = await recvFds(right.fd);
      total += part?.data.length ?? 0;
      fds += part?.fds.length ?? 0;
    }
    await sending;
    expect([total, fds]).toEqual([bytes.length, 1]);
    await sendFds(right.fd, [], "answer");
    expect((await receiving)?.data.toString()).toBe("answer");
    left.close();
    right.close();
  });

  it("abort ends the wait and leaves the message, with its fds, to the next receive", async () => {
    const [left, right] = socketPair();
    const controller = new AbortController();
    const waiting = recvFds(right.fd, { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toThrow("aborted");
    await expect(sendFds(left.fd, [file], "x", { signal: controller.signal })).rejects.toThrow("aborted");
    await sendFds(left.fd, [file], "later");
    using message = await recvFds(right.fd);
    expect([message?.data.toString(), message?.fds.length]).toEqual(["later", 1]);
    left.close();
    right.close();
  });

  it("say what is wrong: too many, no bytes, no socket, a peer that has gone", async () => {
    const [left, right] = socketPair();
    await expect(sendFds(left.fd, new Array<FdHandle>(254).fill(file))).rejects.toMatchObject({
      code: "TOO_MANY_DESCRIPTORS",
    });
    await expect(sendFds(left.fd, [file], "")).rejects.toMatchObject({ code: "PROTOCOL_ERROR" });
    await expect(sendFds(file.fd, [])).rejects.toMatchObject({ errnoName: "ENOTSOCK" });
    await expect(recvFds(file.fd)).rejects.toMatchObject({ errnoName: "ENOTSOCK" });
    expect(native.recvmsg(right.fd, new Uint8Array(1), 0, new Int32Array(255))).toBe(-EAGAIN);
    right.close();
    await expect(sendFds(left.fd, [file])).rejects.toMatchObject({ errnoName: "EPIPE" });
    left.close();
  });

  it("a seqpacket message longer than `size` is refused whole, and its fds closed", async () => {
    const [left, right] = socketPair(SOCK_SEQPACKET);
    await sendFds(left.fd, [file], "too long");
    await expect(recvFds(right.fd, { size: 3 })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    left.close();
    right.close();
  });

  it("say DESCRIPTORS_TRUNCATED where this process may not open as many (hazard 4)", async () => {
    const { stdout, stderr } = await runWithAddon(
      `(async () => {
         const { recvFds } = await import(${JSON.stringify(new URL("../dist/fd-channel.js", import.meta.url).href)});
         const pair = new Int32Array(2); sys.socketpair(1, 1, pair);
         sys.sendmsg(pair[0], Buffer.from("x"), 0, new Int32Array(60).fill(1), 60);
         const before = require("node:fs").readdirSync("/proc/self/fd").length;
         const code = await recvFds(pair[1]).then(() => "none", (error) => error.code);
         console.log(code, require("node:fs").readdirSync("/proc/self/fd").length - before);
       })();`,
      { wrap: limitedTo(64) },
    );
    expect({ stdout, stderr }).toEqual({ stdout: "DESCRIPTORS_TRUNCATED 0\n", stderr: "" });
  });
});
