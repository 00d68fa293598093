/**
 * Nobody holds the broker up: which system calls it makes, where, and on what. A call on an open file that somebody
 * else has or had is one of `foreignCalls`; every other call is on something of the broker's own, and is listed here.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { foreignCalls } from "../src/broker/access/foreign-calls.ts";
import { packageRoot } from "../src/native.ts";

const folder = join(packageRoot, "src/broker");
const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));

const passed = readFileSync(join(folder, "sockets/passed-socket.ts"), "utf8");

/** Calls that may wait, or for which it matters whose the descriptor is. */
const own: Readonly<Record<string, readonly string[]>> = {
  // A process of ours, on a channel to it.
  "guard/worker.ts": ["recvmsg", "sendmsg", "setfl", "setsockopt"],
  "guard/keeper-process.ts": ["recvmsg", "sendmsg", "setfl", "setsockopt", "shutdown"],
  "guard/zygote.ts": ["recvmsg", "sendmsg", "setfl"],
  "guard/guard.ts": ["close"], // a number that the guard has as well, or of a handle that nobody else has
  "demand/doorman/doorman-process.ts": ["recvmsg", "sendmsg"],
  "demand/doorman/taps.ts": ["bpfMap", "bpfSocketFilter"],
  "demand/doorman/lines.ts": ["connect", "setsockopt", "socket"], // non-blocking, and nothing is read
  // Non-blocking, to a tenant's console. Nothing is read, and a guard process closes it.
  "drain/typist.ts": ["connect", "sendmsg", "setsockopt", "socket"],
  // The root of the control groups: a folder of the kernel's.
  "drain/refusal/join-copies.ts": ["bpfGroupFilter", "bpfLinkGroup", "bpfMap", "openat2"],
  // A new socket of the broker's own, and a program of its own network namespace.
  "drain/refusal/listener.ts": ["bind", "listen", "setsockopt", "socket"],
  "drain/refusal/steering.ts": ["bpfDelete", "bpfLinkLookup", "bpfLookup", "bpfMap", "bpfSet", "openat2"],
  "bind/bind-fallback.ts": ["sendmsg"],
  // A kernel object that we made.
  "bind/bind-reports.ts": ["Interceptor", "memfd"],
  "record/wrapped-fd.ts": ["peekmsg", "sendmsg"],
  "restart/former-tenants.ts": ["memfd"],
  "restart/locks.ts": ["flock"],
  "restart/reclaim.ts": ["memfd"],
  "restart/store-mirror.ts": ["memfd"],
  "session/launch.ts": ["addSeals", "memfd"],
  "sockets/interfaces/interface-watch.ts": ["bind", "recvbytes", "socket"],
  "sockets/sock-diag.ts": ["recvbytes", "sendmsg", "socket"], // netlink; the dump takes no socket's lock
  "sockets/unix-path.ts": ["connect", "socket"], // non-blocking, to see whether somebody listens
  // The broker's own sockets: the control socket, the notify socket, accepted connections.
  "notify/notify-socket.ts": ["peeksender", "recvcred", "setsockopt"],
  "session/listener.ts": ["accept"],
  "agent/agent-socket.ts": ["accept"],
  "session/peer-gate.ts": ["setsockopt"],
  "sockets/control/control-socket.ts": ["boundAddress", "setsockopt"],
  // A held socket before anybody else gets it.
  "sockets/control/console-sockets.ts": ["bind", "listen", "socket"],
  "plans/as-new.ts": ["setfl", "setsockopt", "socket"],
  "plans/carry-over.ts": ["runPlan", "socket"],
  "sockets/held-socket.ts": ["bind", "boundAddress", "listen"],
  "plans/open-socket.ts": ["setfl", "setsockopt", "socket"],
  "plans/option-state.ts": ["runPlan"],
  // Carries out a plan here and now: only for the two above.
  "plans/socket-call.ts": [
    ...["bind", "connect", "getpeername", "getsockname", "getsockopts", "listen", "setfl", "setsockopt"],
    "shutdown",
  ],
  // Of UNIX sockets only, whose names have a lock of their own (unix_getname, net/unix/af_unix.c).
  "berths/berth/stash.ts": ["isConnected"],
  "sockets/passed-socket.ts": ["boundAddressIfKnown"],
};

/** They take no descriptor, or only one of a process. */
const harmless = ["epollCreate", "ifindex", "pidfdOpen", "pollFor"];
/** Functions of net/socket-queries.ts that take a lock, and the one that carries out a plan here and now. */
const functions = ["boundAddress", "boundAddressIfKnown", "isConnected", "runPlan"];

function callsIn(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "").replace(/^import[\s\S]*?;$/gm, "");
  const methods = Array.from(code.matchAll(/\b(?:sys|native)\.(\w+)\(/g), ([, name = ""]) => name);
  const named = functions.filter((name) => new RegExp(`(?<!function )\\b${name}(?:<[^>]*>)?\\(`).test(code));
  return [...new Set([...methods, ...named])].sort();
}

it("the broker makes no call that may wait on what somebody else has or had", () => {
  const found = files.flatMap((file) => {
    const calls = callsIn(readFileSync(join(folder, file), "utf8"));
    const rest = calls.filter((name) => !(name in foreignCalls) && !harmless.includes(name));
    return rest.length === 0 ? [] : [[file, rest] as const];
  });
  const expected = Object.fromEntries(Object.entries(own).map(([file, calls]) => [file, [...calls].sort()]));
  expect(Object.fromEntries(found)).toEqual(expected);
});

/** What libuv watches is in no other epoll: epoll_ctl(2) would take a lock that any process can hold for ever. */
const watched: Readonly<Record<string, string>> = {
  "agent/agent-socket.ts": "the broker's own socket; a predecessor watches it no more",
  "agent/state-connection.ts": "a connection, accepted here",
  "berths/berth/tenant-process.ts": "a pidfd of its own; a predecessor watches its copy no more",
  "demand/doorman/doorman-process.ts": "a channel, made here",
  "guard/keeper-process.ts": "a channel, made here",
  "guard/worker.ts": "a channel and a pidfd, made here and by the guard",
  "guard/zygote.ts": "a channel, made here",
  "notify/notify-socket.ts": "the broker's own socket; a predecessor watches it no more",
  "restart/last-processes.ts": "a pidfd, made here",
  "session/listener.ts": "the broker's own socket; a predecessor watches it no more",
  "sockets/interfaces/interface-watch.ts": "a netlink socket, made here",
};

it("the event loop's epoll has nothing that somebody else may have in an epoll", () => {
  const found = files.flatMap((file) => {
    const text = readFileSync(join(folder, file), "utf8");
    return /new [\w.#]*\bPoll\(/.test(text) ? [[file, /new [\w.#]*\bPoll\([^;]*, true\);/.test(text)] as const] : [];
  });
  expect(
    found
      .filter(([, isShared]) => isShared)
      .map(([file]) => file)
      .sort(),
  ).toEqual(["berths/repairs/shutdowns.ts", "demand/arrival-watch.ts"]);
  expect(
    found
      .filter(([, isShared]) => !isShared)
      .map(([file]) => file)
      .sort(),
  ).toEqual(Object.keys(watched).sort());
});

it("the broker reads no link of another process's descriptors itself: the process can make that wait", () => {
  const readers = files.filter((file) =>
    /readlinkSync\([^)]*\/proc\/(?!self\/|\$\{pid\}\/ns\/)/.test(readFileSync(join(folder, file), "utf8")),
  );
  expect(readers).toEqual([]);
  const links = files.filter((file) => /readlinkSync\((?!`\/proc\/)/.test(readFileSync(join(folder, file), "utf8")));
  expect(links).toEqual([]);
});

it("options of other levels than SOL_SOCKET are read by plans alone", () => {
  const readers = files.filter((file) => /\bgetsockopt\(/.test(readFileSync(join(folder, file), "utf8")));
  const measuring = "metrics/measure-berth.ts";
  expect(readers.filter((file) => file !== "plans/socket-call.ts")).toEqual([measuring]);
  const measured = readFileSync(join(folder, measuring), "utf8").match(/\bgetsockopt\(.*/g);
  // Of this level none takes the socket's lock (sk_getsockopt, net/core/sock.c).
  expect(measured).toEqual([expect.stringMatching(/^getsockopt\(socket\.fd, SOL_SOCKET, SO_MEMINFO, /)]);
  for (const file of files) {
    const text = readFileSync(join(folder, file), "utf8");
    const calls = text.match(/\bsocketOption\([^;]*/g) ?? [];
    const levels = calls.filter(
      (call) => !/\bSOL_SOCKET\b/.test(call) && !call.startsWith("socketOption(fd, level, name"),
    );
    expect(levels, file).toEqual([]);
  }
  const [, uses = ""] = /const option = \(level[\s\S]*?socketOption([\s\S]*?)\n}/.exec(passed) ?? [];
  expect(uses).toMatch(/option\(so\.SOL_SOCKET/);
  expect(uses).not.toMatch(/option\((?!so\.SOL_SOCKET)/);
});

it("a call is found however it is written, and not in a comment", () => {
  expect(callsIn("this.#sys.listen(fd); options.sys.shutdown(fd, 2); native.dup(fd);")).toEqual([
    "dup",
    "listen",
    "shutdown",
  ]);
  expect(callsIn("// sys.listen(fd)\n/* sys.bind() */ const a = isConnected(fd, sys);")).toEqual(["isConnected"]);
});
