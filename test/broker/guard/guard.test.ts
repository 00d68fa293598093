import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Guard, type GuardCall, type GuardResult } from "../../../src/broker/guard/guard.ts";
import { decodeResults, encodeBatch, refusedOf } from "../../../src/broker/guard/protocol.ts";
import { FdHandle } from "../../../src/fd.ts";
import { native } from "../../../src/native.ts";
import { encodeSockaddr } from "../../../src/net/address.ts";
import { SO_BROADCAST, SO_SNDBUF, SO_TYPE, SOL_SOCKET } from "../../../src/net/socket-constants.ts";
import { boundAddress, socketOption, socketPair } from "../../../src/net/socket-queries.ts";
import { openFds } from "../../support/fds.ts";
import { childrenOf } from "../../support/guards.ts";

const opened: { close(): void }[] = [];

function guard(): Guard {
  const made = new Guard({ sys: native, log: () => undefined });
  opened.push({ close: () => made[Symbol.dispose]() });
  return made;
}

afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

/** Two ends of a stream on which `text` waits, with the descriptors. */
function sent(text: string, fds: readonly number[]): FdHandle {
  const [one, other] = socketPair("stream", native);
  opened.push(one, other);
  native.sendmsg(one.fd, Buffer.from(text), 0, Int32Array.from(fds), fds.length);
  return other;
}

describe("a message", () => {
  it("comes with its bytes up to the first NUL, and the descriptors that came with them", async () => {
    const socket = sent("hello\0more", [0]);
    const memfd = native.memfd("m");
    const message = await guard().receive(1, sent("hello\0more", [memfd]).fd, "frame", 4);
    closeSync(memfd);
    expect(message?.bytes.toString()).toBe("hello\0");
    expect(message?.fds).toHaveLength(1);
    for (const handle of message?.fds ?? []) handle.close();
    expect(socket.open).toBe(true);
  });

  it("passes sockets, pipes, memfds and files, and says of others why they do not", async () => {
    const folder = mkdtempSync(join(tmpdir(), "berthd-test-"));
    writeFileSync(join(folder, "file"), "");
    const file = openSync(join(folder, "file"), "r");
    const directory = openSync(folder, "r");
    const path = native.openat2(-100, Buffer.from(folder), 0o10000000, 0, 0);
    const [one, other] = socketPair("datagram", native);
    opened.push(one, other);
    const device = openSync("/dev/null", "r");
    const proc = openSync("/proc/self/status", "r");
    const namespace = openSync("/proc/self/ns/net", "r");
    const numbers = [file, one.fd, directory, path, device, proc, namespace];
    const message = await guard().receive(1, sent("x\0", numbers).fd, "frame", 9);
    for (const fd of [file, directory, path, device, proc, namespace]) closeSync(fd);
    rmSync(folder, { recursive: true });
    expect(message?.verdicts.map((verdict) => verdict === undefined)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    expect(refusedOf(message ?? { verdicts: [] })[1]).toContain("O_PATH");
    expect(message?.fds).toHaveLength(2);
    for (const handle of message?.fds ?? []) handle.close();
  });

  it("with more descriptors than are taken passes none of them", async () => {
    const message = await guard().receive(1, sent("x\0", [0, 0, 0]).fd, "frame", 2);
    expect(message?.fds).toEqual([]);
    expect(message?.verdicts).toHaveLength(3);
    expect(message?.verdicts[0]).toContain("too many");
  });

  it("that is not there is an errno, and the end of the stream is a size of 0", async () => {
    const test = guard();
    const [one, other] = socketPair("stream", native);
    opened.push(other);
    expect((await test.receive(1, other.fd, "frame", 1))?.size).toBe(-11);
    one.close();
    expect((await test.receive(1, other.fd, "frame", 1))?.size).toBe(0);
  });
});

describe("calls", () => {
  it("leave no copy of the socket behind: once answered, another socket can have its address", async () => {
    const test = guard();
    let address = encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port: 0 }, 0);
    for (let round = 0; round < 200; round++) {
      using socket = FdHandle.adopt(native.socket(2, 2, 0));
      expect([round, native.bind(socket.fd, address)]).toEqual([round, 0]);
      const bound = boundAddress(socket.fd, native);
      if (bound !== undefined) address = encodeSockaddr(bound, 0);
      // Many copies, which take longer to close than an answer takes to come.
      const copies = Array.from({ length: 200 }, () => socket.fd);
      expect(await test.run(1, copies, [{ call: "getsockname", index: 0 }])).toHaveLength(1);
    }
  });

  it("are carried out in their order, each with its result", async () => {
    const socket = FdHandle.adopt(native.socket(2, 2, 0));
    opened.push(socket);
    const bytes = encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port: 0 }, 0);
    const results = await guard().run(
      1,
      [socket.fd],
      [
        { call: "getsockopt", index: 0, level: SOL_SOCKET, option: SO_TYPE, room: 4 },
        { call: "bind", index: 0, address: bytes },
        { call: "bind", index: 0, address: bytes },
        { call: "getsockname", index: 0 },
        { call: "setsockopt", index: 0, level: SOL_SOCKET, option: 6, value: new Uint8Array([1, 0, 0, 0]) },
        { call: "listen", index: 1, backlog: 1 },
      ],
    );
    if (typeof results === "string") throw new Error(results);
    expect(results.map(({ value }) => value)).toEqual([0, 0, -22, 0, 0, -9]);
    expect([...(results[0]?.bytes ?? [])]).toEqual([2, 0, 0, 0]);
    expect(results[3]?.bytes).toHaveLength(16);
    expect(boundAddress(socket.fd, native)).toMatchObject({ host: "127.0.0.1" });
  });
});

describe("a batch of calls", () => {
  const udp = (): FdHandle => {
    const socket = FdHandle.adopt(native.socket(2, 2, 0));
    opened.push(socket);
    return socket;
  };
  const type: GuardCall = { call: "getsockopt", index: 0, level: SOL_SOCKET, option: SO_TYPE, room: 4 };
  const broadcast: GuardCall = { call: "getsockopt", index: 0, level: SOL_SOCKET, option: SO_BROADCAST, room: 4 };

  async function run(test: Guard, fds: readonly number[], batch: Uint8Array, index = 0): Promise<GuardResult> {
    const results = await test.run(1, fds, [{ call: "batch", index, batch }]);
    const [first] = typeof results === "string" ? [] : results;
    if (first === undefined) throw new Error(String(results));
    return first;
  }

  it("is carried out on its descriptor, and gives the results of all", async () => {
    const [test, one, other] = [guard(), udp(), udp()];
    native.setsockopt(other.fd, SOL_SOCKET, SO_BROADCAST, 1);
    const { value, bytes } = await run(
      test,
      [one.fd, other.fd],
      encodeBatch([type, broadcast, type], new Uint8Array(0)),
      1,
    );
    expect(value).toBe(0);
    const results = decodeResults(bytes, 3);
    expect(results?.map((each) => [each.value, ...each.bytes])).toEqual([
      [0, 2, 0, 0, 0],
      [0, 1, 0, 0, 0],
      [0, 2, 0, 0, 0],
    ]);
  });

  it("gives one word when the results are those that were expected, and all of them otherwise", async () => {
    const [test, socket] = [guard(), udp()];
    const calls = [broadcast, { call: "listen", index: 0, backlog: 1 } as const];
    const { bytes } = await run(test, [socket.fd], encodeBatch(calls, new Uint8Array(0)));
    const batch = encodeBatch(calls, bytes);
    expect(await run(test, [socket.fd], batch)).toEqual({ value: 1, bytes: new Uint8Array(0) });
    native.setsockopt(socket.fd, SOL_SOCKET, SO_BROADCAST, 1);
    const changed = await run(test, [socket.fd], batch);
    expect(changed.value).toBe(0);
    expect(decodeResults(changed.bytes, 2)?.[0]?.bytes[0]).toBe(1);
    expect((await run(test, [socket.fd], encodeBatch([broadcast], bytes))).value).toBe(0);
  });

  it("one int of an option is what the call returned", async () => {
    const socket = udp();
    const read = (level: number, option: number, word: number): GuardCall => ({
      call: "getword",
      index: 0,
      level,
      option,
      word,
    });
    // SO_MEMINFO: the fourth is the send buffer (linux/sock_diag.h).
    const results = await guard().run(
      1,
      [socket.fd],
      [read(SOL_SOCKET, 55, 3), read(SOL_SOCKET, SO_TYPE, 0), read(SOL_SOCKET, 9999, 0)],
    );
    expect(results).toMatchObject([
      { value: socketOption(socket.fd, SOL_SOCKET, SO_SNDBUF, native) },
      { value: 2 },
      { value: -92 },
    ]);
  });

  it("that is none, or has another in it, is refused", async () => {
    const [test, socket] = [guard(), udp()];
    const inner = encodeBatch([type], new Uint8Array(0));
    const outer = encodeBatch([{ call: "batch", index: 0, batch: inner }], new Uint8Array(0));
    const wrong = [outer, new Uint8Array(0), new Uint8Array(Int32Array.of(-4).buffer), inner.subarray(0, 8)];
    wrong.push(new Uint8Array(Int32Array.of(8, 0).buffer));
    for (const batch of wrong) expect((await run(test, [socket.fd], batch)).value).toBe(-22);
    expect((await run(test, [socket.fd], inner, 1)).value).toBe(-9);
    expect((await run(test, [socket.fd], inner)).value).toBe(0);
  });
});

/** The workers of the guards in this process. */
function workers(): number[] {
  return childrenOf(process.pid, "berth-guard").flatMap((zygote) => childrenOf(zygote, "berth-guard-w"));
}

describe("a worker", () => {
  it("has no capability, cannot get one, and may call only what it needs", async () => {
    const test = guard();
    await test.receive(1, sent("x\0", []).fd, "frame", 1);
    await test.run(1, [], []);
    const status = workers().map((pid) => readFileSync(`/proc/${pid}/status`, "utf8"));
    const field = (name: string): (string | undefined)[] =>
      status.map((text) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(text)?.[1]).sort();
    // CAP_NET_ADMIN is 12, CAP_NET_RAW 13: the one that makes calls needs them (SO_RCVBUFFORCE), and has what the
    // broker has.
    const forCalls = process.geteuid?.() === 0 ? "0000000000003000" : "0000000000000000";
    expect(field("CapEff")).toEqual(["0000000000000000", forCalls]);
    expect(field("CapPrm")).toEqual(field("CapEff"));
    expect(field("NoNewPrivs")).toEqual(["1", "1"]);
    expect(field("Seccomp")).toEqual(["2", "2"]);
  });

  it("that does not answer is killed, and the next one answers", async () => {
    const log: string[] = [];
    const test = new Guard({ sys: native, log: (_, message) => log.push(message) });
    opened.push({ close: () => test[Symbol.dispose]() });
    await test.receive(7, sent("x\0", []).fd, "frame", 1);
    const [pid = 0] = workers();
    process.kill(pid, "SIGSTOP");
    const { fd } = sent("y\0", []);
    expect(await test.receive(7, fd, "frame", 1)).toBeUndefined();
    expect(log).toEqual([expect.stringContaining("a descriptor of uid 7 made a guard process wait too long")]);
    await expect.poll(() => test.stuck).toBe(0);
    expect(workers()).not.toContain(pid);
    expect((await test.receive(7, fd, "frame", 1))?.bytes.toString()).toBe("y\0");
  });
});

it("calls for a user that has eight stuck workers are given up at once, before they are made, and others' are made", async () => {
  // Nobody can be made to wait beyond SIGKILL here, so the signal is not sent.
  const test = new Guard({ sys: { ...native, pidfdSignal: () => 0 }, log: () => undefined });
  const [one, other] = socketPair("stream", native);
  opened.push(one, other, { close: () => test[Symbol.dispose]() });
  const type: GuardCall = { call: "getsockopt", index: 0, level: SOL_SOCKET, option: SO_TYPE, room: 4 };
  const ask = (owner: number, onFreed?: () => void) =>
    new Promise<readonly GuardResult[] | "stuck" | "unavailable">((resolve) =>
      test.ask(owner, [one.fd], [type], resolve, onFreed),
    );
  const others = workers();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  const stopped: number[] = [];
  try {
    for (let n = 0; n < 8; n++) {
      expect(await ask(7)).toHaveLength(1);
      const pid = workers().find((worker) => !stopped.includes(worker) && !others.includes(worker)) ?? 0;
      process.kill(pid, "SIGSTOP");
      stopped.push(pid);
      const answer = ask(7);
      vi.advanceTimersByTime(3000);
      expect(await answer).toBe("stuck");
    }
    expect([test.stuck, stopped.length]).toEqual([8, 8]);
    // A bind is answered with ETIMEDOUT then. A repair tries again when one has ended.
    expect(await ask(7)).toBe("stuck");
    expect(await ask(7, () => undefined)).toBe("unavailable");
    expect(test.trusts(7)).toBe(true);
    expect(await ask(8)).toHaveLength(1);
  } finally {
    vi.useRealTimers();
    for (const pid of stopped) process.kill(pid, "SIGKILL");
  }
  await expect.poll(() => test.stuck).toBe(0);
  expect(await ask(7)).toHaveLength(1);
});

describe("closing", () => {
  it("leaves no descriptor in this process, and none in the worker", async () => {
    const test = guard();
    test.start();
    const [one, other] = socketPair("stream", native);
    opened.push(one);
    test.close(7, other.steal());
    await expect.poll(() => native.pollNow(one.fd, 1) & 0x10).toBe(0x10);
    const before = openFds();
    for (let round = 0; round < 20; round++) test.close(7, native.memfd("m"));
    expect(openFds()).toEqual(before);
    // More than the worker's channel takes at once.
    for (let round = 0; round < 500; round++) test.close(7, native.memfd("m"));
    // The worker's own may have come late, and go when it has had nothing to do for a while.
    await expect.poll(() => openFds().filter((fd) => !before.includes(fd))).toEqual([]);
  });

  it("ends with the guard, and everything that it was given is closed", async () => {
    const before = openFds();
    const [one, other] = socketPair("stream", native);
    {
      using test = new Guard({ sys: native, log: () => undefined });
      test.close("broker", other.steal());
    }
    await expect.poll(() => native.pollNow(one.fd, 1) & 0x10).toBe(0x10);
    one.close();
    expect(openFds()).toEqual(before);
  });
});

it("a guard that cannot be started is not tried at every message, and closing works without it", async () => {
  const log: string[] = [];
  let tries = 0;
  const socketpair: typeof native.socketpair = () => {
    tries++;
    return -24; // EMFILE
  };
  const test = new Guard({ sys: { ...native, socketpair }, log: (_, message) => log.push(message) });
  opened.push({ close: () => test[Symbol.dispose]() });
  const socket = sent("x\0", []);
  for (let round = 0; round < 20; round++) expect(await test.receive(1, socket.fd, "frame", 1)).toBeUndefined();
  expect([tries, log.length]).toEqual([1, 1]);
  const [one, other] = socketPair("stream", native);
  opened.push(one);
  test.close(1, other.steal());
  expect(native.pollNow(one.fd, 1) & 0x10).toBe(0x10);
});

it("passes files of the file systems that the broker keeps: both have the same list", () => {
  const words = (text: string | undefined): string[] => (text?.match(/\w+/g) ?? []).sort();
  const ofGuard = /kLocal\[\] = \{(.*?)\}/s.exec(readFileSync("native/guard/sorter.cc", "utf8"))?.[1];
  const ofBroker = /LOCAL: .*?"(.*?)"/s.exec(readFileSync("src/broker/berths/berth/stash-file.ts", "utf8"))?.[1];
  expect(words(ofGuard)).toContain("ext4");
  expect(words(ofGuard)).toEqual(words(ofBroker));
});
