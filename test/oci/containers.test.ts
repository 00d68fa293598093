/** Containers of runc and crun, without a network of their own, that serve on a berth's sockets. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { MINIMAL_PROFILE } from "../../src/oci/profile.ts";
import { inodesAt } from "../bind/harness.ts";
import { berth } from "../cli/support.ts";
import { isReady, type Logged, launchBroker, TestFolder } from "../support/broker.ts";
import { Bundle, type Container, seccompFor } from "../support/bundle.ts";
import { FakeManager } from "../support/fake-manager.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";
import { ask, berthAt, compileServer, tell, who } from "./harness.ts";

const ID = "berthd-test";
const launcher = join(packageRoot, "build/Release/berth-launch");

const shared = new TestFolder();
let program: string;
let folder: TestFolder;
let port: number;
let bundle: Bundle;

beforeAll(() => {
  program = compileServer(shared);
});

afterAll(() => shared[Symbol.dispose]());

beforeEach(async () => {
  port = await freePort();
  folder = new TestFolder({ "config/arena.toml": berthAt(port, "any-namespace = true") });
  const agent = join(folder.path, "broker.sock.agent");
  bundle = new Bundle(folder, program, seccompFor(agent, "arena"), [String(port)]);
});

afterEach(() => {
  bundle.remove(ID);
  folder[Symbol.dispose]();
});

/** A container that serves. */
async function serving(): Promise<Container> {
  const container = bundle.run(ID);
  await container.said(1);
  return container;
}

const hasEnded = ({ event }: Logged): boolean => event === "released";

describe("a container without a network of its own", {
  ...needs("root", "runc", "crun", "unshare"),
  timeout: 60_000,
}, () => {
  it("serves TCP and UDP on the broker's sockets, and sees the players' own addresses", async () => {
    await using broker = launchBroker(folder);
    await broker.logged(({ event }) => event === "ready");
    await using container = await serving();
    for (const kind of ["udp", "tcp"] as const) {
      const [own, seen] = await who(kind, port);
      expect(seen).toBe(own);
    }
    expect(inodesAt("udp", port)).toEqual([await ask(port, "inode")]);
    expect(inodesAt("tcp", port)).toHaveLength(1);
    expect(await ask(port, `bind ${port + 1}`)).toBe("13");
    expect(container.stderr).toBe("");
  });

  it.each([
    ["runc", "the default profile", false],
    ["runc", "the minimal one", true],
    ["crun", "the default profile", false],
  ] as const)(
    "of %s serves by the config.json that `berth oci spec` prints, with %s",
    async (runtime, _, isMinimal) => {
      await using broker = launchBroker(folder);
      await broker.logged(({ event }) => event === "ready");
      bundle = new Bundle(folder, program, {}, [String(port)], runtime);
      const path = join(folder.path, "bundle/config.json");
      const base = join(folder.path, "base.json");
      writeFileSync(base, JSON.stringify(MINIMAL_PROFILE));
      const words = ["oci", "spec", "arena", path, "--socket", broker.socket, ...(isMinimal ? ["--base", base] : [])];
      const { code, stdout, stderr } = await berth(words);
      expect([code, stderr]).toEqual([0, ""]);
      writeFileSync(path, stdout);
      await using container = await serving();
      expect(inodesAt("udp", port)).toEqual([await ask(port, "inode")]);
      expect(container.stderr).toBe("");
    },
  );

  it("serves in the berth's own root, with ids of its range, and the lease is the container's", async () => {
    bundle = new Bundle(folder, program, {}, [String(port)]);
    const place = join(folder.path, "place");
    mkdirSync(place);
    const root = `[root]\nimage = ${JSON.stringify(bundle.rootfs)}\n`;
    folder.write({ "config/arena.toml": `${berthAt(port, "any-namespace = true")}${root}` });
    await using broker = launchBroker(folder, ["--state", join(folder.path, "state")]);
    await broker.logged(({ event }) => event === "ready");
    const words = ["oci", "spec", "arena", bundle.config, "--rootfs", place, "--socket", broker.socket];
    const early = await berth(words);
    expect([early.code, early.stdout]).toEqual([1, ""]);
    const [, remedy = ""] = /take it: berth-launch (.*)\n$/.exec(early.stderr) ?? [];
    execFileSync(launcher, ["--socket", broker.socket, ...remedy.split(" ")], { stdio: "pipe" });
    const { code, stdout, stderr } = await berth(words);
    expect([code, stderr]).toEqual([0, ""]);
    writeFileSync(bundle.config, stdout);
    const starter = [launcher, "--contain", place, "--agent", "--socket", broker.socket, "arena", "--"];
    await using container = bundle.run(ID, starter);
    await container.said(1);
    const pid = bundle.pidOf(ID);
    expect(await broker.logged(({ event }) => event === "passed")).toMatchObject({ berth: "arena", pid });
    expect(inodesAt("udp", port)).toEqual([await ask(port, "inode")]);
    const [, base] = /^\s*0\s+(\d+)/.exec(readFileSync(`/proc/${pid}/uid_map`, "utf8")) ?? [];
    expect(statSync(`/proc/${pid}/root/server`).uid).toBe(Number(base));
    expect(container.stderr).toBe("");
    process.kill(pid, "SIGKILL");
    await container.ended();
    await broker.logged(hasEnded);
  });

  it.each(["runc", "crun"] as const)(
    "of %s is stopped, and the next one answers what came meanwhile",
    async (runtime) => {
      const seccomp = seccompFor(join(folder.path, "broker.sock.agent"), "arena");
      bundle = new Bundle(folder, program, seccomp, [String(port)], runtime);
      await using broker = launchBroker(folder);
      await broker.logged(({ event }) => event === "ready");
      const before = inodesAt("udp", port);
      for (const signal of ["TERM", "KILL"]) {
        await using container = await serving();
        // The first process of a PID namespace ignores a signal that it does not handle.
        bundle.runtime("kill", ID, signal === "TERM" ? "KILL" : signal);
        await container.ended();
        const answer = ask(port, "inode");
        await using next = await serving();
        expect(before).toEqual([await answer]);
        expect(next.stderr).toBe("");
        bundle.runtime("kill", ID, "KILL");
        await next.ended();
      }
      expect(broker.log.filter(({ event }) => event === "container")).toHaveLength(4);
      expect(broker.log.filter(({ level }) => level === "warning")).toEqual([]);
    },
  );

  it("loses its berth with its first process, and keeps a second container out until then", async () => {
    await using broker = launchBroker(folder);
    await broker.logged(({ event }) => event === "ready");
    await using container = await serving();
    await using second = bundle.run(`${ID}-2`);
    await second.ended();
    expect(second.stderr).toContain("cannot serve: udp -38, tcp -38");
    const refused = await broker.logged(({ event }) => event === "container-refused");
    expect(refused.message).toContain("refused: berth arena is taken by pid");
    expect(await ask(port, "inode")).toBe(inodesAt("udp", port)[0]);
    process.kill(bundle.pidOf(ID), "SIGKILL");
    await container.ended();
    await broker.logged(hasEnded);
  });

  it("gets no socket of the berth unless it may be in any namespace, and the log says what to set", async () => {
    folder.write({ "config/arena.toml": berthAt(port, "") });
    await using broker = launchBroker(folder);
    await broker.logged(({ event }) => event === "ready");
    await using container = await serving(); // on its own network, where nobody reaches it
    const { message } = await broker.logged(({ event }) => event === "bind-refused");
    expect(message).toMatch(/^berth arena: pid \d+ of its server bound udp:.* set server\.any-namespace = true$/);
    expect(container.stderr).toBe("");
  });

  it("serves on while the broker is killed, and the next broker answers its binds", async () => {
    await using manager = new FakeManager({ max: 64 });
    manager.config("arena.toml", berthAt(port, "any-namespace = true"));
    bundle = new Bundle(folder, program, seccompFor(`${manager.socket}.agent`, "arena"), [String(port)]);
    await manager.start();
    await using container = await serving();
    const [inode] = inodesAt("udp", port);
    await manager.end();
    expect(await ask(port, "inode")).toBe(inode);
    const rebound = ask(port, "rebind");
    await manager.start();
    expect(await rebound).toBe("0");
    expect(await ask(port, "inode")).toBe(inode);
    await container.kill();
    await expect.poll(() => manager.names.filter((name) => name.startsWith("lease."))).toEqual([]);
  });

  it("keeps its berth where nothing is stored: the next broker takes the sockets back from it", async () => {
    const first = launchBroker(folder);
    await first.logged(({ event }) => event === "ready");
    await using container = await serving();
    const [inode] = inodesAt("udp", port);
    first.child.kill("SIGKILL");
    await first.exited;
    await using broker = launchBroker(folder);
    await broker.logged(({ event }) => event === "ready");
    expect(await ask(port, "inode")).toBe(inode);
    bundle.runtime("kill", ID, "KILL");
    await container.ended();
    await broker.logged(hasEnded);
    expect(inodesAt("udp", port)).toEqual([inode]);
  });

  it.each(["runc", "crun"] as const)(
    "of %s gives what exec starts its other sockets, until the broker restarts",
    async (runtime) => {
      const other = await freePort();
      const game = berthAt(port, "any-namespace = true");
      folder.write({
        "config/arena.toml": `[sockets.other]\nlisten = ["udp://0.0.0.0:${other}", "tcp://0.0.0.0:${other}"]\n${game}`,
      });
      const seccomp = seccompFor(join(folder.path, "broker.sock.agent"), "arena");
      bundle = new Bundle(folder, program, seccomp, [String(port)], runtime);
      const first = launchBroker(folder);
      await first.logged(isReady);
      await using container = await serving();
      await using beside = bundle.exec(ID, "/server", String(other));
      await beside.said(1);
      expect([await ask(other, "inode")]).toEqual(inodesAt("udp", other));
      await using twice = bundle.exec(ID, "/server", String(other));
      await twice.ended();
      expect(twice.stderr).toContain("tcp -98");
      await using broker = launchBroker(folder, ["--replace", "must"]);
      await broker.logged(isReady);
      await first.exited;
      expect(await ask(port, "rebind")).toBe("0");
      await tell(other, "rebind");
      await beside.ended();
      expect(beside.stderr).toContain("cannot bind again: 38");
      expect(await ask(port, "inode")).toBe(inodesAt("udp", port)[0]);
      expect(container.stderr).toBe("");
    },
  );
});
