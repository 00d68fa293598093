import { once } from "node:events";
import { constants } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FdHandle } from "../../src/fd.ts";
import { DISCONNECT, native, packageRoot, READABLE, WRITABLE } from "../../src/native.ts";
import { O_NONBLOCK } from "../../src/net/socket-constants.ts";
import { runWithAddon } from "../support/addon-child.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { memfd, socketPair } from "../support/sockets.ts";

const { EBADF, EPERM } = constants.errno;

leaksNothing();
let a: FdHandle;
let b: FdHandle;

beforeEach(() => {
  [a, b] = socketPair();
});

afterEach(() => {
  a.close();
  b.close();
});

function say(text: string): void {
  native.sendmsg(b.fd, Buffer.from(text), 0, new Int32Array(0), 0);
}

/** A poll on `a` that resolves `ready` once, and is closed then. */
function watch(
  events: number,
  isShared = false,
): { poll: InstanceType<typeof native.Poll>; ready: Promise<[number, number]> } {
  let poll: InstanceType<typeof native.Poll> | undefined;
  const ready = new Promise<[number, number]>((resolve) => {
    poll = new native.Poll(
      a.fd,
      (status, got) => {
        poll?.close();
        resolve([status, got]);
      },
      isShared,
    );
  });
  if (poll === undefined) throw new Error("no poll");
  expect(poll.start(events)).toBe(0);
  return { poll, ready };
}

describe.each([
  ["of its own", false],
  ["that others share", true],
])("Poll of an open file %s", (_, isShared) => {
  it("says when a descriptor is readable, and is level-triggered", async () => {
    let calls = 0;
    await new Promise<void>((resolve) => {
      const poll = new native.Poll(
        a.fd,
        (status, events) => {
          expect([status, events]).toEqual([0, READABLE]);
          if (++calls < 3) return;
          poll.close();
          resolve();
        },
        isShared,
      );
      expect(poll.start(READABLE)).toBe(0);
      say("nobody reads this");
    });
    expect(calls).toBe(3);
  });

  it("says when it is writable, and when the peer has gone", async () => {
    expect(await watch(WRITABLE, isShared).ready).toEqual([0, WRITABLE]);
    const gone = watch(DISCONNECT | READABLE, isShared);
    b.close();
    const [status, events] = await gone.ready;
    expect(status).toBe(0);
    expect(events & READABLE).toBe(READABLE);
  });

  it("start(0) pauses, start(READABLE) goes on", async () => {
    const { poll, ready } = watch(READABLE, isShared);
    expect(poll.start(0)).toBe(0);
    say("x");
    let called = false;
    void ready.then(() => {
      called = true;
    });
    for (let turn = 0; turn < 5; turn++) await setImmediate();
    expect(called).toBe(false);
    expect(poll.start(READABLE)).toBe(0);
    expect(await ready).toEqual([0, READABLE]);
  });

  it("leaves the descriptor open when it is closed; close is idempotent and later use is EBADF or nothing", () => {
    const { poll } = watch(READABLE, isShared);
    poll.close();
    poll.close();
    expect(poll.start(READABLE)).toBe(-EBADF);
    poll.ref();
    poll.unref();
    expect(native.getfd(a.fd)).toBe(1);
  });

  it("can be closed before it was ever started", () => {
    const poll = new native.Poll(a.fd, () => undefined, isShared);
    poll.close();
    expect(poll.start(READABLE)).toBe(-EBADF);
  });

  it("says EBADF for what is not open", () => {
    const closed = new native.Poll(9999, () => undefined, isShared);
    expect(closed.start(READABLE)).toBe(-EBADF);
    closed.close();
  });

  it("watches several, and one callback may close all of them", async () => {
    const polls: InstanceType<typeof native.Poll>[] = [];
    let calls = 0;
    await new Promise<void>((resolve) => {
      for (const end of [a, b]) {
        const poll = new native.Poll(
          end.fd,
          () => {
            calls++;
            for (const one of polls) one.close();
            resolve();
          },
          isShared,
        );
        polls.push(poll);
        expect(poll.start(WRITABLE)).toBe(0);
      }
    });
    for (let turn = 0; turn < 5; turn++) await setImmediate();
    expect(calls).toBe(1);
  });
});

describe("Poll", () => {
  it("says EPERM for what cannot be polled, and EBADF for what is not open", () => {
    const file = memfd();
    const regular = new native.Poll(file.fd, () => undefined);
    expect(regular.start(READABLE)).toBe(-EPERM);
    regular.close();
    file.close();
    const closed = new native.Poll(9999, () => undefined);
    expect(closed.start(READABLE)).toBe(-EBADF);
    closed.close();
  });

  it("may be closed inside its own callback, with another one on the same file", async () => {
    const twin = a.dup();
    const other = new native.Poll(twin.fd, () => undefined);
    other.start(READABLE);
    const first = watch(READABLE);
    say("x");
    expect(await first.ready).toEqual([0, READABLE]);
    other.close();
    twin.close();
  });

  it.each([true, false])("sets O_NONBLOCK, unless others share the open file (%s)", (isShared) => {
    native.setfl(a.fd, native.getfl(a.fd) & ~O_NONBLOCK);
    const poll = new native.Poll(a.fd, () => undefined, isShared);
    expect(poll.start(READABLE)).toBe(0);
    expect((native.getfl(a.fd) & O_NONBLOCK) !== 0).toBe(!isShared);
    poll.close();
  });

  it.each<[string, readonly unknown[]]>([
    ["no arguments", []],
    ["an fd that is no number", ["3", () => undefined]],
    ["an fd that is NaN", [Number.NaN, () => undefined]],
    ["no callback", [0]],
    ["a callback that is no function", [0, {}]],
  ])("refuses %s with a TypeError", (_, args) => {
    expect(() => Reflect.construct(native.Poll, [...args])).toThrow(TypeError);
  });

  it("refuses to start on events that are no integer, and methods on another object", () => {
    const poll = new native.Poll(a.fd, () => undefined);
    expect(() => Reflect.apply(poll.start, poll, ["1"])).toThrow(TypeError);
    expect(() => Reflect.apply(poll.start, {}, [1])).toThrow(TypeError);
    poll.close();
  });

  it("an exception in the callback becomes an uncaughtException, and the loop goes on", async () => {
    const { stdout, stderr, code } = await runWithAddon(
      `const pair = new Int32Array(2); sys.socketpair(1, 1, pair);
       let times = 0;
       process.on("uncaughtException", (error, origin) => {
         console.log(error.message, origin);
         if (times === 2) poll.close();
       });
       const poll = new sys.Poll(pair[0], () => { throw new Error("thrown " + ++times); });
       poll.start(2);`,
    );
    expect({ stdout, stderr, code }).toEqual({
      stdout: "thrown 1 uncaughtException\nthrown 2 uncaughtException\n",
      stderr: "",
      code: 0,
    });
  });

  it("an exception that nobody handles ends the process with its stack, as in any callback", async () => {
    const { stderr, code, signal } = await runWithAddon(
      `const poll = new sys.Poll(2, () => { throw new Error("unhandled here"); });
       poll.start(2);`,
    );
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stderr).toContain("Error: unhandled here");
  });

  it("of files that others share waits where more are watched than may be open now", needs("prlimit"), async () => {
    const { stdout, code } = await runWithAddon(
      `const { spawn } = require("node:child_process");
       const pair = new Int32Array(2);
       const polls = Array.from({ length: 30 }, () => {
         sys.socketpair(1, 1, pair);
         const poll = new sys.Poll(pair[0], () => { console.log("heard"); for (const one of polls) one.close(); }, true);
         return poll;
       });
       for (const poll of polls) poll.start(1);
       const limits = "prlimit --pid $0 --nofile=20: && echo && sleep 1 && prlimit --pid $0 --nofile=1024:";
       const shell = spawn("sh", ["-c", limits, String(process.pid)], { stdio: ["ignore", "pipe", "inherit"] });
       let before;
       shell.stdout.once("data", () => {
         for (const poll of polls) poll.start(1); // so that they are all looked at anew
         before = process.cpuUsage();
       });
       shell.on("exit", () => {
         const { user, system } = process.cpuUsage(before);
         console.log(user + system < 100_000 ? "waited" : "used " + (user + system));
         sys.sendmsg(pair[1], Buffer.from("x"), 0, new Int32Array(0), 0);
       });`,
    );
    expect({ stdout, code }).toEqual({ stdout: "waited\nheard\n", code: 0 });
  });

  it("microtasks and nextTicks run after the callback", async () => {
    const { stdout, code } = await runWithAddon(
      `const pair = new Int32Array(2); sys.socketpair(1, 1, pair);
       const poll = new sys.Poll(pair[0], () => {
         poll.close();
         process.nextTick(() => console.log("tick"));
         Promise.resolve().then(() => console.log("microtask"));
         console.log("callback");
       });
       poll.start(2);`,
    );
    expect({ stdout, code }).toEqual({ stdout: "callback\ntick\nmicrotask\n", code: 0 });
  });

  it.each([
    ["unref() after start", "poll.start(1); poll.unref();"],
    ["unref() before start", "poll.unref(); poll.start(1);"],
    ["close()", "poll.start(1); poll.close();"],
    ["never started", ""],
  ])("lets the process end: %s", async (_, script) => {
    const { code, signal } = await runWithAddon(
      `const pair = new Int32Array(2); sys.socketpair(1, 1, pair);
       const poll = new sys.Poll(pair[0], () => undefined); ${script}`,
    );
    expect({ code, signal }).toEqual({ code: 0, signal: null });
  });

  it("keeps the process alive while it is referenced, whoever forgets the object", async () => {
    const { stdout, code } = await runWithAddon(
      `const pair = new Int32Array(2); sys.socketpair(1, 1, pair);
       (() => {
         const poll = new sys.Poll(pair[0], () => { console.log("still here"); poll.close(); });
         poll.unref(); poll.start(1); poll.ref();
       })();
       setTimeout(() => { global.gc(); sys.sendmsg(pair[1], Buffer.from("x"), 0, new Int32Array(0), 0); }, 50).unref();`,
      { nodeFlags: ["--expose-gc"] },
    );
    expect({ stdout, code }).toEqual({ stdout: "still here\n", code: 0 });
  });

  it("is collected when nobody refers to it and it was never started, or was closed", async () => {
    const { stdout, stderr, code } = await runWithAddon(
      `const pair = new Int32Array(2); sys.socketpair(1, 1, pair);
       const registry = new FinalizationRegistry((name) => {
         seen.add(name);
         if (seen.size === 2) { console.log([...seen].sort().join()); clearInterval(timer); }
       });
       const seen = new Set();
       (() => {
         const idle = new sys.Poll(pair[0], () => undefined);
         registry.register(idle, "idle");
         const closed = new sys.Poll(pair[0], () => undefined);
         registry.register(closed, "closed");
         closed.start(1); closed.close();
       })();
       const timer = setInterval(() => global.gc(), 5);`,
      { nodeFlags: ["--expose-gc"] },
    );
    expect({ stdout, stderr, code }).toEqual({ stdout: "closed,idle\n", stderr: "", code: 0 });
  });
});

const workerScript = `
  const { parentPort, workerData } = require("node:worker_threads");
  const sys = require("node-gyp-build")(workerData);
  const pair = new Int32Array(2);
  const own = [];
  const open = () => { sys.socketpair(1, 1, pair); own.push(...pair); return pair[0]; };
  const started = new sys.Poll(open(), () => undefined); started.start(1);
  const idle = new sys.Poll(open(), () => undefined);
  const paused = new sys.Poll(open(), () => undefined); paused.start(1); paused.start(0);
  const closed = new sys.Poll(open(), () => undefined); closed.start(1); closed.close();
  globalThis.kept = [started, idle, paused];
  parentPort.postMessage(own);
`;

describe("the addon in worker threads", () => {
  it("lets a thread be terminated while it has polls open", async () => {
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(workerScript, { eval: true, workerData: packageRoot });
      const [fds] = await once(worker, "message");
      expect(await worker.terminate()).toBe(1);
      for (const fd of fds) expect(native.close(fd)).toBe(0);
    }
  });

  it("lets a thread end by itself, by process.exit and by an exception in a callback, with polls open", async () => {
    const { stdout, stderr, code, signal } = await runWithAddon(
      `const { Worker } = require("node:worker_threads");
       const script = ${JSON.stringify(workerScript)};
       const run = (extra) => new Promise((resolve) => {
         let failure = "";
         const worker = new Worker(script + extra, { eval: true, workerData: ${JSON.stringify(packageRoot)} });
         worker.on("error", (error) => { failure = error.message; });
         worker.on("exit", (code) => resolve(code + failure));
       });
       (async () => {
         console.log(await run("started.unref();"));
         console.log(await run("process.exit(5);"));
         console.log(await run("const poll = new sys.Poll(open(), () => { throw new Error('in a thread'); }); poll.start(2);"));
       })();`,
    );
    expect({ stdout, stderr, code, signal }).toEqual({
      stdout: "0\n5\n1in a thread\n",
      stderr: "",
      code: 0,
      signal: null,
    });
  });

  it("serves two threads at once, each with its own polls", async () => {
    const script = `
      const { parentPort, workerData } = require("node:worker_threads");
      const sys = require("node-gyp-build")(workerData.root);
      const data = Buffer.alloc(64), received = new Int32Array(255);
      const poll = new sys.Poll(workerData.fd, () => {
        const size = sys.recvmsg(workerData.fd, data, 0, received);
        const echo = Int32Array.from(received.subarray(2, 2 + received[0]));
        if (size > 0) sys.sendmsg(workerData.fd, data.subarray(0, size), 0, echo, echo.length);
        for (const fd of echo) sys.close(fd);
        if (size <= 0) poll.close();
      });
      poll.start(1);
      parentPort.postMessage("ready");`;
    const ends = [socketPair(), socketPair()];
    const workers = ends.map(
      ([, theirs]) => new Worker(script, { eval: true, workerData: { fd: theirs.fd, root: packageRoot } }),
    );
    await Promise.all(workers.map((worker) => once(worker, "message")));
    const file = memfd();
    const rounds = 200;
    await Promise.all(
      ends.map(
        ([ours], index) =>
          new Promise<void>((resolve) => {
            let round = 0;
            const data = Buffer.alloc(64);
            const received = new Int32Array(255);
            const next = (): number =>
              native.sendmsg(ours.fd, Buffer.from(`${index}:${round}`), 0, Int32Array.of(file.fd), 1);
            const poll = new native.Poll(ours.fd, () => {
              const size = native.recvmsg(ours.fd, data, 0, received);
              expect(data.toString("utf8", 0, size)).toBe(`${index}:${round}`);
              expect(received[0]).toBe(1);
              native.close(received[2] ?? -1);
              if (++round < rounds) return void next();
              poll.close();
              resolve();
            });
            poll.start(READABLE);
            next();
          }),
      ),
    );
    const exits = workers.map((worker) => once(worker, "exit"));
    for (const [ours] of ends) ours.close();
    expect(await Promise.all(exits)).toEqual([[0], [0]]);
    for (const [, theirs] of ends) theirs.close();
    file.close();
  });
});

it("the addon is found in the package's own folder", () => {
  expect(packageRoot).toBe(join(import.meta.dirname, "../.."));
});
