/** A berth's trouble is its own: the others are served, and it comes up when the trouble ends. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { BerthView } from "../../src/broker/berths/berth/berth-view.ts";
import { ConfigError } from "../../src/config/toml/problem.ts";
import { spawnBroker, startBroker, type TestBroker } from "../support/broker.ts";
import { expectFdsAgain, settledFds } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { frame, RawPeer } from "../support/peer.ts";
import { freePort } from "../support/ports.ts";

const tcp = (port: number, host = "127.0.0.1"): string => `[sockets.game]\nlisten = ["tcp://${host}:${port}"]\n`;

async function occupied(port: number): Promise<Server> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const closed = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

const problems = (test: TestBroker): Record<string, string[]> =>
  Object.fromEntries(
    test.broker.berths
      .filter((berth) => berth.problems !== undefined)
      .map(({ name, problems = [] }) => [name, problems.map(({ message }) => message)]),
  );

const socketsOf = ({ descriptors }: BerthView) => descriptors.filter(({ kind }) => kind !== "root");

const find = (test: TestBroker, name: string): BerthView | undefined =>
  test.broker.berths.find((berth) => berth.name === name);

function rewrite(test: TestBroker, files: Record<string, string | undefined>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(test.folder.path, "config", name);
    if (text === undefined) rmSync(path);
    else writeFileSync(path, text);
  }
}

/** The problems of a reload that is refused. */
function refusedReload(test: TestBroker): string[] {
  try {
    test.broker.reload();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ message }) => message);
    throw error;
  }
  return [];
}

/** Resolves once a watcher hears that the berth has no problem any more. */
async function cured(watcher: RawPeer, name: string): Promise<void> {
  for (;;) {
    const { berth } = { ...(await watcher.receive())?.parameters } as { berth: BerthView };
    if (berth.name === name && berth.problems === undefined) return;
  }
}

describe("a broker with one bad berth", () => {
  it("and 49 more, of which nine have each another trouble, serves forty, and has fifty when the troubles end", async () => {
    const before = await settledFds();
    {
      const busy = await freePort();
      const other = await occupied(busy);
      const ports = await Promise.all(Array.from({ length: 51 }, () => freePort()));
      const port = (n: number): number => ports[n] ?? 0;
      const good = Object.fromEntries(
        Array.from({ length: 40 }, (_, n) => [`good${String(n).padStart(2, "0")}.toml`, tcp(port(n))]),
      );
      await using test = await startBroker({
        ...good,
        "bad0-busy.toml": tcp(busy),
        "bad1-absent-address.toml": tcp(port(40), "192.0.2.1"),
        "bad2-absent-interface.toml": `${tcp(port(41), "0.0.0.0")}device = "berthd-none"\n`,
        "bad3-no-user.toml": `${tcp(port(42))}[server]\nuser = "berthd-nobody-here"\n`,
        "bad4-typo.toml": `${tcp(port(43))}baklog = 3\n`,
        "bad5-broken.toml": "[sockets.game",
        "z-conflict.toml": tcp(port(0)),
        "bad7-path.toml": '[sockets.game]\nlisten = ["unix:///proc/berthd-none/x"]\n',
        "bad8@.toml": "x = ",
        "bad8@one.toml": "",
        "bad9-no-folder.toml": `${tcp(port(44))}[root]\nimage = "gold"\n`,
      });
      const { broker, log } = test;
      expect(broker.berths).toHaveLength(50);
      expect(Object.keys(problems(test))).toHaveLength(10);
      expect(log.filter(({ event }) => event === "problem")).toHaveLength(10);
      for (const berth of broker.berths)
        expect(socketsOf(berth), berth.name).toHaveLength(/^good/.test(berth.name) ? 1 : 0);
      expect(problems(test)["z-conflict"]).toEqual([expect.stringContaining("of good00 (socket game)")]);
      expect(problems(test)["bad5-broken"]).toEqual([expect.stringContaining("this is not TOML")]);

      using watcher = await RawPeer.connect(test.socket);
      await watcher.send(frame("Watch", {}, { more: true }));
      const comes = cured(watcher, "bad0-busy");
      await closed(other);
      await comes;
      expect(find(test, "bad0-busy")?.descriptors).toHaveLength(1);
      expect(log).toContainEqual(expect.objectContaining({ event: "cured", berth: "bad0-busy" }));

      for (const [name, n] of [
        ["bad1-absent-address", 40],
        ["bad2-absent-interface", 41],
        ["bad3-no-user", 42],
      ] as const)
        rewrite(test, { [`${name}.toml`]: tcp(port(n)) });
      rewrite(test, {
        "bad4-typo.toml": tcp(port(43)),
        "bad5-broken.toml": tcp(port(45)),
        "z-conflict.toml": tcp(port(46)),
        "bad7-path.toml": tcp(port(47)),
        "bad8@.toml": tcp(port(48)),
        "bad9-no-folder.toml": tcp(port(44)),
      });
      broker.reload();
      expect(problems(test)).toEqual({});
      expect(broker.berths.flatMap(socketsOf)).toHaveLength(50);
    }
    await expectFdsAgain(before);
  });

  it("refuses Acquire and Launch of it with the problem, its file and line", async () => {
    await using test = await startBroker({ "a.toml": tcp(0), "b.toml": `${tcp(0)}baklog = 3\n` });
    using peer = await RawPeer.connect(test.socket);
    for (const method of ["Acquire", "Launch"]) {
      expect(await peer.call(method, { berth: "b" })).toMatchObject({
        error: "io.berthd.Broker.BerthHasProblems",
        parameters: {
          berth: "b",
          problems: [{ file: join(test.folder.path, "config/b.toml"), line: 3 }],
          message: expect.stringMatching(/^berth b has a problem: .*b\.toml:3: .*baklog.*did you mean "backlog"/),
        },
      });
    }
    expect((await peer.call("Acquire", { berth: "a" }))?.error).toBeUndefined();
  });

  it("holds the sockets of it that could be opened, and opens the others alone", async () => {
    const [free, busy] = [await freePort(), await freePort()];
    const other = await occupied(busy);
    const two = `[sockets.one]\nlisten = ["tcp://127.0.0.1:${busy}"]\n[sockets.two]\nlisten = ["tcp://127.0.0.1:${free}"]\n`;
    await using test = await startBroker({ "a.toml": two });
    expect(find(test, "a")).toMatchObject({ descriptors: [{ name: "two" }], problems: [{ line: 2 }] });
    using watcher = await RawPeer.connect(test.socket);
    await watcher.send(frame("Watch", {}, { more: true }));
    const comes = cured(watcher, "a");
    await closed(other);
    await comes;
    expect(find(test, "a")?.descriptors.map(({ name }) => name)).toEqual(["one", "two"]);
  });

  it("refuses to start with strict, and closes all", async () => {
    const before = await settledFds();
    const busy = await freePort();
    const other = await occupied(busy);
    const strict = { strict: true };
    await expect(startBroker({ "a.toml": tcp(0), "b.toml": "x = 1" }, strict)).rejects.toThrow(/b\.toml:1: /);
    await expect(startBroker({ "a.toml": tcp(0), "b.toml": tcp(busy) }, strict)).rejects.toThrow(/EADDRINUSE/);
    await closed(other);
    await expectFdsAgain(before);
  });

  it("starts no server on demand for it", async () => {
    const busy = await freePort();
    const other = await occupied(busy);
    const server = '[server]\ncommand = ["/bin/true"]\nuser = 65534\nstart = "on-demand"\n';
    await using test = await startBroker({ "a.toml": tcp(busy) + server });
    expect(find(test, "a")).not.toHaveProperty("start");
    using watcher = await RawPeer.connect(test.socket);
    await watcher.send(frame("Watch", {}, { more: true }));
    const comes = cured(watcher, "a");
    await closed(other);
    await comes;
    await expect.poll(() => find(test, "a")?.start?.state).toBe("waiting");
  });
});

describe("an address or interface that comes later (needs root)", needs("root", "ip", "nsenter"), () => {
  it("brings the berth up without a reload, and the status line says so", async () => {
    await using broker = await spawnBroker(
      {
        "address.toml": tcp(4001, "192.0.2.1"),
        "interface.toml": `${tcp(4002, "0.0.0.0")}device = "berthd0"\n`,
        "good.toml": tcp(4003, "0.0.0.0"),
      },
      [],
      // Before its first interface is up, a network takes any address for its own.
      ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"],
    );
    expect(broker.log).toContainEqual(expect.objectContaining({ message: expect.stringContaining("2 with problems") }));
    const ip = (...args: string[]) =>
      execFileSync("nsenter", ["--target", String(broker.pid), "--net", "ip", ...args], { encoding: "utf8" });
    const cured = (name: string) => broker.logged(({ event, berth }) => event === "cured" && berth === name);
    ip("address", "add", "192.0.2.1/32", "dev", "lo");
    await cured("address");
    ip("link", "add", "berthd0", "type", "veth", "peer", "name", "berthd1");
    await cured("interface");
    expect(ip("address", "show", "dev", "lo")).toContain("192.0.2.1");
  });
});

describe("a reload", () => {
  it("is refused by a new problem, of a good berth or a new one, and says so until one succeeds", async () => {
    await using test = await startBroker({ "a.toml": tcp(0) });
    rewrite(test, { "a.toml": `${tcp(0)}baklog = 3\n`, "b.toml": "x = 1" });
    expect(refusedReload(test)).toEqual([expect.stringContaining("baklog"), expect.any(String), expect.any(String)]);
    expect(test.broker.outdated).toBe(true);
    expect(test.broker.berths.map(({ name }) => name)).toEqual(["a"]);
    rewrite(test, { "a.toml": tcp(0), "b.toml": undefined });
    test.broker.reload();
    expect(test.broker.outdated).toBe(false);
  });

  it("is not refused by a problem that a berth had before, and changes the others", async () => {
    const busy = await freePort();
    const other = await occupied(busy);
    await using test = await startBroker({ "a.toml": tcp(0), "busy.toml": tcp(busy), "typo.toml": "x = 1" });
    rewrite(test, { "typo.toml": "# moved by a line\nx = 1", "c.toml": tcp(0) });
    test.broker.reload();
    expect(test.broker.berths.map(({ name }) => name)).toEqual(["a", "busy", "c", "typo"]);
    expect(Object.keys(problems(test))).toEqual(["busy", "typo"]);
    rewrite(test, { "typo.toml": "y = 1" });
    expect(refusedReload(test)).toEqual([expect.stringContaining('"y"')]);
    await closed(other);
  });

  it("leaves an address to the berth that holds it, whatever the names", async () => {
    const port = await freePort();
    await using test = await startBroker({ "b.toml": tcp(port) });
    rewrite(test, { "a.toml": tcp(port) });
    expect(refusedReload(test)).toEqual([expect.stringMatching(/of a .* conflicts with .* of b /)]);
  });

  it("whose folder is gone is an error, not a broker without berths", async () => {
    await using test = await startBroker({ "a.toml": tcp(0) });
    const config = join(test.folder.path, "config");
    renameSync(config, `${config}.away`);
    expect(refusedReload(test)).toEqual([expect.stringContaining("is gone")]);
    expect(test.broker.berths).toHaveLength(1);
    mkdirSync(config);
    test.broker.reload();
    expect(test.broker.berths).toEqual([]);
  });
});

describe("a berth whose file is missing or empty for one reload", () => {
  it.each([
    ["missing", undefined],
    ["empty", ""],
  ])("(%s) has its socket and its tenant when the file is back", async (_, text) => {
    const before = await settledFds();
    {
      const port = await freePort();
      await using test = await startBroker({ "a.toml": tcp(port), "b.toml": tcp(0) });
      using tenant = await RawPeer.connect(test.socket);
      expect((await tenant.call("Acquire", { berth: "a" }))?.error).toBeUndefined();
      const was = find(test, "a");
      rewrite(test, { "a.toml": text });
      test.broker.reload();
      expect(find(test, "a")).toBeUndefined();
      rewrite(test, { "a.toml": tcp(port) });
      test.broker.reload();
      expect(find(test, "a")).toEqual(was);
    }
    await expectFdsAgain(before);
  });

  it("loses both when the tenant ends meanwhile", async () => {
    const port = await freePort();
    await using test = await startBroker({ "a.toml": tcp(port), "b.toml": tcp(0) });
    using tenant = await RawPeer.connect(test.socket);
    const lease = (await tenant.call("Acquire", { berth: "a" }))?.parameters["lease"];
    rewrite(test, { "a.toml": undefined });
    test.broker.reload();
    expect((await tenant.call("Release", { lease }))?.error).toBeUndefined();
    for (const fd of tenant.fds) fd.close();
    // The keeper closes the broker's last copy, a moment later.
    await vi.waitFor(async () => closed(await occupied(port)), 30_000);
    expect((await tenant.call("Release", { lease }))?.error).toBe("io.berthd.Broker.NoSuchLease");
  });
});
