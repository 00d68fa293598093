/** What the seccomp agent's socket takes from runtimes, and from others. A program plays runtime and container. */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { packageRoot } from "../../../src/native.ts";
import { eventually, inodesAt, NOBODY, Server } from "../../bind/harness.ts";
import { startBroker, type TestBroker, TestFolder } from "../../support/broker.ts";
import { compileC } from "../../support/compile.ts";
import { leaksNothing } from "../../support/fds.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";

const ENOSYS = "errno 38";
const EADDRINUSE = "errno 98";
const STRANGER = 65_533;

const folder = new TestFolder();
let world: TestBroker;
let program: string;
let port: number;
/** Another one of the same berth. */
let second: number;

beforeAll(() => {
  program = compileC(join(packageRoot, "test/fixtures/oci/runtime.c"), join(folder.path, "runtime"));
});

afterAll(() => folder[Symbol.dispose]());

leaksNothing("soon");

beforeEach(async () => {
  port = await freePort();
  second = await freePort();
  const users = `[tenant]\nusers = [${NOBODY}]\n`;
  const deliver = '[server]\ndeliver = ["bind"]\n';
  const berths = {
    "arena.toml": `[sockets.game]\nlisten = ["udp://0.0.0.0:${port}", "udp://0.0.0.0:${second}"]\n${users}${deliver}`,
    "plain.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${users}`,
    "roots.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${deliver}`,
  };
  world = await startBroker(berths, { deadline: 300 });
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

function stateOf(berth: string, change: object = {}): string {
  const state = { ociVersion: "1.0.2", id: "c1", status: "creating", pid: "PID", bundle: "/b" };
  const all = { ociVersion: "1.0.2", fds: ["seccompFd"], pid: "PID", metadata: berth, state, ...change };
  return JSON.stringify(all).replaceAll('"PID"', "PID");
}

function runtime(text: string, fds = "l", uid = 0, at = port): Server {
  return new Server(program, [`${world.socket}.agent`, text, fds, String(at)], { uid, gid: uid });
}

/** What exec starts in that container. */
function exec(container: Server, uid: number, at: number, pids: object = {}): Server {
  const state = { id: "c1", status: "running", pid: container.pid, ...pids };
  return runtime(stateOf("arena", { state, ...pids }), "l", uid, at);
}

const refusals = (): string[] =>
  world.log
    .filter(({ event }) => event === "container-refused")
    .map(({ message }) => message.replace(/^container of pid \d+ \(uid \d+\) refused: /, ""));
const tenants = (): number => world.broker.berths.filter(({ lease }) => lease !== undefined).length;

describe("the agent's socket", needs("root"), () => {
  it.each([
    ["root's runtime", 0, ""],
    ["a runtime of a user that may take the berth", NOBODY, ""],
    ["a state that comes in parts", NOBODY, " "],
  ])("gives a container its berth's socket: %s", async (_, uid, first) => {
    {
      await using container = runtime(first + stateOf("arena"), "l", uid);
      expect(await container.said(1)).toEqual(inodesAt("udp", port));
      expect(tenants()).toBe(1);
    }
    expect(await eventually(tenants, 0)).toBe(0);
    expect(refusals()).toEqual([]);
  });

  it("takes the listener among other descriptors", async () => {
    await using container = runtime(stateOf("arena", { fds: ["other", "seccompFd"] }), "nl");
    expect(await container.said(1)).toEqual(inodesAt("udp", port));
  });

  it.each([
    ["a user that may take no berth", stateOf("arena"), "l", STRANGER, "its user may take no berth"],
    [
      "a user that may take another berth",
      stateOf("roots"),
      "l",
      NOBODY,
      "it may not take berth roots, or there is none of that name; name its user in the berth's [tenant]",
    ],
    [
      "a name that is no berth's",
      stateOf("absent"),
      "l",
      0,
      "there is no berth absent; correct listenerMetadata in the seccomp profile",
    ],
    [
      "a berth without bind delivery",
      stateOf("plain"),
      "l",
      NOBODY,
      'berth plain does not serve containers; write deliver = ["bind"] into its [server]',
    ],
    [
      "a process of another user",
      stateOf("arena", { pid: process.pid, state: { id: "c1" } }),
      "l",
      NOBODY,
      `pid ${process.pid} has no seccomp filter`,
    ],
    [
      "a process that has ended",
      stateOf("arena", { pid: 4_194_304, state: { id: "c1" } }),
      "l",
      0,
      "pid 4194304 has ended, or is in another PID namespace than the broker",
    ],
    [
      "what exec has started in a container that has no berth",
      stateOf("arena", { state: { id: "c1", pid: 1, status: "running" } }),
      "l",
      0,
      "container c1 is not known to have berth arena, so a program that exec starts in it gets no socket; start the container again",
    ],
    [
      "no descriptor",
      stateOf("arena"),
      "",
      0,
      "its container state is refused: it names 1 descriptors, and 0 came with it",
    ],
    [
      "two descriptors",
      stateOf("arena"),
      "ll",
      0,
      "its container state is refused: it names 1 descriptors, and 2 came with it",
    ],
    ["a descriptor that is no listener", stateOf("arena"), "n", 0, "the descriptor is not a seccomp listener"],
    ["a file that is none", stateOf("arena"), "z", 0, "it sent a descriptor that is no seccomp listener"],
    ["more descriptors than a state may have", stateOf("arena"), "lllll", 0, expect.stringContaining("that is no")],
    ["ten descriptors", stateOf("arena"), "llllllllll", 0, expect.stringContaining("that is no")],
    ["what is no JSON", "hello", "l", 0, "it is no JSON object"],
    ["a list", "[]", "l", 0, "it is no JSON object"],
    ["bad JSON", '{"a":}', "l", 0, expect.stringMatching(/ in time: the message is not valid JSON/)],
    ["a key twice", '{"a":1,"a":2}', "l", 0, expect.stringMatching(/ in time: the message has the same key twice/)],
    ["half a state", '{"pid":', "l", 0, "it sent no whole container state in time: it is not complete"],
    ["too much", `{"a":"${"x".repeat(100_000)}`, "l", 0, expect.stringContaining("its container state is refused")],
    ["nothing", "", "", 0, "it sent no whole container state"],
  ])("refuses %s, with a sentence; the container's bind fails", async (_, text, fds, uid, why) => {
    await using container = runtime(text, fds, uid);
    expect(await container.said(1)).toEqual([ENOSYS]);
    await expect.poll(refusals).toEqual([why]);
    expect(tenants()).toBe(0);
  });

  it("gives a berth to one container at a time", async () => {
    await using first = runtime(stateOf("arena"));
    await first.said(1);
    await using second = runtime(stateOf("arena"));
    expect(await second.said(1)).toEqual([ENOSYS]);
    expect(refusals()).toEqual([`berth arena is taken by pid ${first.pid} (uid 0); end that first`]);
  });

  it.each([
    ["as runc says it", {}],
    ["as crun says it, without pids", { pid: 0 }],
  ])("gives what exec starts the other sockets of the container's berth, %s", async (_, pids) => {
    for (const uid of [0, NOBODY]) {
      await using container = runtime(stateOf("arena"), "l", uid);
      await container.said(1);
      await using beside = exec(container, uid, second, pids);
      expect(await beside.said(1)).toEqual(inodesAt("udp", second));
      await using late = exec(container, uid, port, pids);
      expect(await late.said(1)).toEqual([EADDRINUSE]);
      expect(world.broker.berths.flatMap(({ lease }) => lease?.pid ?? [])).toEqual([container.pid]);
      await container.kill();
      await eventually(tenants, 0);
    }
    expect(refusals()).toEqual([]);
  });

  it("gives no other user's program a socket, whatever it says of a container", async () => {
    await using container = runtime(stateOf("arena"));
    await container.said(1);
    for (const pids of [{}, { pid: 0 }]) {
      await using attacker = exec(container, NOBODY, second, pids);
      expect(await attacker.said(1)).toEqual([ENOSYS]);
    }
    await using stranger = exec(container, STRANGER, second);
    expect(await stranger.said(1)).toEqual([ENOSYS]);
    const another = "container c1 is another user's";
    await expect.poll(refusals).toEqual([another, another, "its user may take no berth"]);
  });

  it.each([
    ["its own listener", "l"],
    ["a pipe", "n"],
  ])("gives no berth to a process of another user, for a runtime that sends %s", async (_, fds) => {
    await using victim = runtime("hello");
    expect(await victim.said(1)).toEqual([ENOSYS]);
    const state = stateOf("arena", { pid: victim.pid, state: { id: "c1", pid: victim.pid } });
    await using attacker = runtime(state, fds, NOBODY);
    expect(await attacker.said(1)).toEqual([ENOSYS]);
    await expect.poll(refusals).toEqual(["it is no JSON object", `pid ${victim.pid} is another user's`]);
    expect(tenants()).toBe(0);
  });

  it("serves a listener of another filter no longer than its user's processes live", async () => {
    await using named = runtime("hello", "l", NOBODY);
    expect(await named.said(1)).toEqual([ENOSYS]);
    const state = stateOf("arena", { pid: named.pid, state: { id: "c1", pid: named.pid } });
    {
      await using reported = runtime(state, "l", NOBODY);
      expect(await reported.said(1)).toEqual(inodesAt("udp", port));
      const [lease] = world.broker.berths.flatMap((one) => one.lease ?? []);
      expect(lease).toMatchObject({ pid: named.pid, uid: NOBODY });
      await named.kill();
    }
    await eventually(tenants, 0);
    await using next = runtime(stateOf("arena"));
    expect(await next.said(1)).toEqual(inodesAt("udp", port));
  });

  it("refuses a megabyte of metadata, and bytes that come one by one; others are served meanwhile", async () => {
    const agent = `${world.socket}.agent`;
    const large = connect(agent);
    large.on("error", () => undefined); // the broker closes it before all is sent
    const slow = connect(agent);
    slow.on("error", () => undefined);
    await once(slow, "connect");
    const text = stateOf("arena", { pid: 1 });
    let at = 0;
    const timer = setInterval(() => slow.write(text.charAt(at++ % text.length)), 5);
    const closed = [large, slow].map((one) => new Promise((resolve) => one.on("close", resolve)));
    large.write(stateOf("x".repeat(1024 * 1024)));
    try {
      await using container = runtime(stateOf("arena"));
      expect(await container.said(1)).toEqual(inodesAt("udp", port));
      await Promise.all(closed);
    } finally {
      clearInterval(timer);
    }
    const sentence = /^(its container state is refused|it sent no whole container state in time): it is not complete$/;
    expect(refusals()).toEqual([expect.stringMatching(sentence), expect.stringMatching(sentence)]);
  });

  it("answers the binds of a limited number of programs that exec has started", async () => {
    await using container = runtime(stateOf("arena"));
    await container.said(1);
    const started: Server[] = [];
    try {
      while (started.length < 16) {
        const one = exec(container, 0, second);
        started.push(one);
        expect(await one.said(1)).not.toEqual([ENOSYS]);
      }
      await using late = exec(container, 0, second);
      expect(await late.said(1)).toEqual([ENOSYS]);
    } finally {
      for (const one of started) await one.kill();
    }
    expect(refusals()).toEqual(["berth arena or uid 0 has too many programs with bind delivery"]);
  });
});
