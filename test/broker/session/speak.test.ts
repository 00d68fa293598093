/** The method Speak of a real broker: who may, what is shown of it, how it ends a server, and what is refused. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { describe, expect, it, vi } from "vitest";
import { Stops } from "../../../src/broker/demand/stops.ts";
import { acquire } from "../../../src/client/acquire.ts";
import { connect } from "../../../src/client/connect.ts";
import { launcherPath } from "../../../src/launcher-path.ts";
import { type Native, native } from "../../../src/native.ts";
import { startBroker, type TestBroker } from "../../support/broker.ts";
import { isRoot, needs } from "../../support/needs.ts";
import { RawPeer } from "../../support/peer.ts";
import { Watcher } from "../../support/watcher.ts";

const game = (server: string, more = ""): string =>
  `[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n${more}[server]\nsdk = "agones"\n${server}`;
const leaseOf = ({ broker }: TestBroker): string => broker.berths[0]?.lease?.id ?? "";

/** A server that runs until it gets a signal; resolves once it has the berth. */
async function launch({ socket }: TestBroker, watcher: Watcher): Promise<ChildProcess & AsyncDisposable> {
  const from = watcher.events.length;
  const child = spawn(launcherPath(), ["--socket", socket, "arena", "--", "/bin/sleep", "600"], { stdio: "ignore" });
  const ended = once(child, "exit");
  await watcher.until(({ event }) => event === "acquired", from);
  return Object.assign(child, {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  });
}

const user = isRoot ? "user = 65534\n" : "";

it("says that the server is ready, its status and who plays, until the lease ends", async () => {
  await using test = await startBroker({ "arena.toml": game('watchdog = "2s"\n') });
  await using watcher = await Watcher.connect(test.socket, 1);
  using client = await connect({ socket: test.socket });
  const tenancy = await acquire("arena", { socket: test.socket });
  await client.speak("arena", leaseOf(test), { ready: true, status: "Allocated", players: 3, max: 8 });
  for (const event of ["status", "players", "ready"]) await watcher.until((one) => one.event === event);
  expect((await client.berths())[0]).toMatchObject({
    ready: true,
    status: "Allocated",
    players: { count: 3, max: 8 },
    sdk: { protocol: "agones", grpc: 9357, http: 9358, watchdog: 2_000_000 },
  });
  await client.speak("arena", leaseOf(test), { status: "", players: 2 });
  expect((await client.berths())[0]).toMatchObject({ players: { count: 2 } });
  expect(test.broker.berths[0]?.status).toBeUndefined();
  // The first `ready` counts.
  await client.speak("arena", leaseOf(test), { ready: true });
  expect(watcher.events.filter(({ event }) => event === "ready")).toHaveLength(1);
  await tenancy.release();
  await watcher.until(({ event }) => event === "released");
  expect(test.broker.berths[0]?.players).toBeUndefined();
});

it("is about one lease: an ended one, another berth's and none at all are NoSuchLease", async () => {
  const other = '[sockets.a]\nlisten = ["tcp://127.0.0.1:0"]\n';
  await using test = await startBroker({ "arena.toml": game(""), "other.toml": other });
  using client = await connect({ socket: test.socket });
  const first = await acquire("arena", { socket: test.socket });
  const old = leaseOf(test);
  await first.release();
  await using _tenancy = await acquire("arena", { socket: test.socket });
  await using _other = await acquire("other", { socket: test.socket });
  const foreign = test.broker.berths.find(({ name }) => name === "other")?.lease?.id ?? "";
  for (const id of [old, foreign, "none"])
    await expect(client.speak("arena", id, { ready: true })).rejects.toMatchObject({
      error: "io.berthd.Broker.NoSuchLease",
    });
  expect(test.broker.berths[0]?.ready).toBe(false);
  await expect(client.speak("nope", "none", {})).rejects.toMatchObject({ error: "io.berthd.Broker.NoSuchBerth" });
});

it("a status that changes all the time is told once a second, and the last one is told", async () => {
  await using test = await startBroker({ "arena.toml": game("") });
  await using watcher = await Watcher.connect(test.socket, 1);
  using client = await connect({ socket: test.socket });
  await using _tenancy = await acquire("arena", { socket: test.socket });
  for (let n = 0; n < 300; n++) await client.speak("arena", leaseOf(test), { status: `map ${n}` });
  await watcher.until(({ berth }) => berth.status === "map 299");
  expect(watcher.events.filter(({ event }) => event === "status").length).toBeLessThan(100);
});

it.each([
  ["players", { players: -1 }],
  ["max", { players: 1, max: 1_000_001 }],
  ["status", { status: "a\nb" }],
  ["status", { status: "s".repeat(129) }],
  ["end", { end: "explode" }],
  ["ready", { ready: "yes" }],
])("%s of %j is InvalidParameter, and nothing is said", async (parameter, said) => {
  await using test = await startBroker({ "arena.toml": game("") });
  await using _tenancy = await acquire("arena", { socket: test.socket });
  using peer = await RawPeer.connect(test.socket);
  expect(await peer.call("Speak", { berth: "arena", lease: leaseOf(test), ...said })).toMatchObject({
    error: "org.varlink.service.InvalidParameter",
    parameters: { parameter },
  });
  expect(test.broker.berths[0]).toMatchObject({ ready: false });
  expect(test.broker.berths[0]?.players).toBeUndefined();
});

it.each([
  ["stop", "SIGTERM", "asked for its end"],
  ["abort", "SIGABRT", "hangs"],
] as const)("end: %s ends the server by %s, and the log says who asked for it", async (end, signal, why) => {
  await using test = await startBroker({ "arena.toml": game(user) });
  await using watcher = await Watcher.connect(test.socket, 1);
  using client = await connect({ socket: test.socket });
  await using child = await launch(test, watcher);
  const ended = once(child, "exit");
  await client.speak("arena", leaseOf(test), { end });
  expect(await ended).toEqual([null, signal]);
  await watcher.until(({ event }) => event === "released");
  expect(test.log.some(({ message }) => message.includes(why) && message.includes(`pid ${process.pid}`))).toBe(true);
});

it("a server finds the ports of its SDK in its environment; what its file or the launch says comes first", async () => {
  const ports = "sdk-grpc-port = 12001\nsdk-http-port = '12002'\n";
  await using test = await startBroker({ "arena.toml": game(`${user}${ports}`) });
  const child = spawn(
    launcherPath(),
    ["--socket", test.socket, "--setenv", "AGONES_SDK_HTTP_PORT=7", "arena", "--", "/usr/bin/env"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const text = (await child.stdout.toArray()).join("");
  expect(text).toContain("AGONES_SDK_GRPC_PORT=12001\n");
  expect(text).toContain("AGONES_SDK_HTTP_PORT=7\n");
});

it("another sdk-user is in force after a reload without an outdated tenant; another port is not", async () => {
  await using test = await startBroker({ "arena.toml": game("") });
  await using _tenancy = await acquire("arena", { socket: test.socket });
  test.folder.write({ "config/arena.toml": game("sdk-user = 65534\n") });
  test.broker.reload();
  expect(test.broker.berths[0]?.outdated).toBeUndefined();
  test.folder.write({ "config/arena.toml": game("sdk-user = 65534\nsdk-grpc-port = 12001\n") });
  test.broker.reload();
  expect(test.broker.berths[0]).toMatchObject({ outdated: true, sdk: { grpc: 12001 } });
});

describe("who may speak (needs root, to be several users)", needs("root"), () => {
  const [SPEAKER, TENANT, OBSERVER, STRANGER] = [65_533, 65_534, 65_532, 65_531];
  const others = `[tenant]\nusers = [${TENANT}]\n[observer]\nusers = [${OBSERVER}]\n`;
  const files = {
    "arena.toml": game(`sdk-user = ${SPEAKER}\n${user}`, others),
    "other.toml": game("sdk-grpc-port = 12001\nsdk-http-port = 12002\n", others),
  };

  it("the sdk-user sees its berth and ends a server of another user, but cannot take the berth, stop or drain it", async () => {
    await using test = await startBroker(files);
    await using watcher = await Watcher.connect(test.socket, 2);
    await using child = await launch(test, watcher);
    using peer = await RawPeer.connect(test.socket, SPEAKER);
    const list = (await peer.call("List"))?.parameters["berths"];
    expect(list).toMatchObject([{ name: "arena", sdk: { uid: TENANT } }]);
    for (const method of ["Acquire", "Launch", "Stop", "Drain", "Report"])
      expect(await peer.call(method, { berth: "arena" })).toMatchObject({
        error: "org.varlink.service.PermissionDenied",
      });
    for (const method of ["Ready", "Release"])
      expect(await peer.call(method, { lease: leaseOf(test) })).toMatchObject({
        error: "io.berthd.Broker.NoSuchLease",
      });
    expect(peer.fds).toEqual([]);
    expect(child.exitCode ?? child.signalCode).toBeNull();
    const ended = once(child, "exit");
    expect(await peer.call("Speak", { berth: "arena", lease: leaseOf(test), end: "stop" })).toEqual({ parameters: {} });
    expect(await ended).toEqual([null, "SIGTERM"]);
  });

  it("tenants and observers are refused, and who does not see the berth learns nothing", async () => {
    await using test = await startBroker(files);
    await using _tenancy = await acquire("arena", { socket: test.socket });
    const lease = leaseOf(test);
    for (const uid of [TENANT, OBSERVER]) {
      using peer = await RawPeer.connect(test.socket, uid);
      expect(await peer.call("Speak", { berth: "arena", lease, ready: true, end: "abort" })).toMatchObject({
        error: "org.varlink.service.PermissionDenied",
        parameters: { message: expect.stringContaining("server.sdk-user") },
      });
    }
    // The speaker of one berth is a stranger to the other.
    for (const [uid, berth] of [
      [STRANGER, "arena"],
      [SPEAKER, "other"],
    ] as const) {
      using peer = await RawPeer.connect(test.socket, uid);
      const missing = "x".repeat(berth.length);
      const there = JSON.stringify(await peer.call("Speak", { berth, lease, ready: true }));
      expect(there).toContain("PermissionDenied");
      expect(there.replaceAll(berth, missing)).toBe(
        JSON.stringify(await peer.call("Speak", { berth: missing, lease })),
      );
    }
    expect(test.broker.berths[0]?.ready).toBe(false);
  });
});

it("end: stop again and again leaves one stop under way, and another after it has failed", async () => {
  const begun = vi.spyOn(Stops.prototype, "end");
  try {
    await using test = await startBroker({ "arena.toml": game("") });
    // The broker ends no server of its own process, so each stop fails.
    await using _tenancy = await acquire("arena", { socket: test.socket });
    let fail = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      fail = resolve;
    });
    begun.mockImplementationOnce(async (berth) => {
      await held;
      return { kind: "not-stopped", berth: berth.name, message: "held" };
    });
    using client = await connect({ socket: test.socket });
    const failures = (): number => test.log.filter(({ event }) => event === "stop-failed").length;
    for (let n = 0; n < 100; n++) await client.speak("arena", leaseOf(test), { end: "stop" });
    expect(begun).toHaveBeenCalledTimes(1);
    fail();
    await expect.poll(failures).toBe(1);
    await client.speak("arena", leaseOf(test), { end: "stop" });
    await expect.poll(failures).toBe(2);
    expect(begun).toHaveBeenCalledTimes(2);
  } finally {
    begun.mockRestore();
  }
});

it("stops a server later that cannot be stopped now, because no descriptor is left", async () => {
  let isOut = false;
  const sys: Native = { ...native, dup: (fd) => (isOut ? -constants.errno.EMFILE : native.dup(fd)) };
  await using test = await startBroker({ "arena.toml": game(user) }, { sys });
  await using watcher = await Watcher.connect(test.socket, 1);
  await using server = await launch(test, watcher);
  const ended = once(server, "exit");
  using client = await connect({ socket: test.socket });
  isOut = true;
  const ends = vi.spyOn(Stops.prototype, "end");
  await client.speak("arena", leaseOf(test), { end: "stop" });
  // It is answered at once, so each call that left work behind would cost the broker memory.
  for (let n = 0; n < 100; n++) await client.speak("arena", leaseOf(test), { end: "stop" });
  expect(ends.mock.calls.length).toBeLessThan(50);
  ends.mockRestore();
  await expect
    .poll(() => test.log.filter(({ event }) => event === "stop-failed").map(({ message }) => message))
    .toContainEqual(
      expect.stringMatching(/^berth arena: its server asked for its end, and is stopped later: .*EMFILE/),
    );
  expect(server.exitCode ?? server.signalCode).toBeNull();
  isOut = false;
  await ended;
  await watcher.until(({ event }) => event === "released");
});
