/** Containers of podman, by crun and by runc, that serve on a berth's sockets. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { inodesAt } from "../bind/harness.ts";
import { berth } from "../cli/support.ts";
import { type BrokerProcess, isReady, launchBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { PODMAN, Podman } from "../support/podman.ts";
import { freePort } from "../support/ports.ts";
import { ask, berthAt, compileServer, who } from "./harness.ts";

const shared = new TestFolder();
let program: string;
let folder: TestFolder;
let port: number;

beforeAll(() => {
  program = compileServer(shared);
});

afterAll(() => shared[Symbol.dispose]());

beforeEach(async () => {
  port = await freePort();
  folder = new TestFolder({ "config/arena.toml": berthAt(port, "any-namespace = true") });
});

afterEach(() => folder[Symbol.dispose]());

async function startedBroker(): Promise<BrokerProcess> {
  const broker = launchBroker(folder);
  await broker.logged(isReady);
  return broker;
}

/** The options of a container that serves the berth. */
async function options(broker: BrokerProcess): Promise<string[]> {
  const { code, stdout, stderr } = await berth(["oci", "profile", "arena", "--socket", broker.socket]);
  expect([code, stderr]).toEqual([0, ""]);
  const path = join(folder.path, "arena.json");
  writeFileSync(path, stdout);
  return ["--network", "none", "--security-opt", `seccomp=${path}`];
}

/** The server in a container of a folder's files. */
const filesOf = (podman: Podman): string[] => ["--rootfs", podman.rootfs, "/server", String(port)];

/** The lease's process, or none. */
async function tenant(broker: BrokerProcess): Promise<number | undefined> {
  const { stdout } = await berth(["show", "arena", "--json", "--socket", broker.socket]);
  return JSON.parse(stdout).lease?.pid;
}

const count = (broker: BrokerProcess, event: string): number =>
  broker.log.filter((line) => line["event"] === event).length;

describe.each(["crun", "runc"])("a container of podman, by %s", { ...needs(...PODMAN), timeout: 60_000 }, (runtime) => {
  it("serves UDP and TCP; after stop, start and restart it has the same sockets", async () => {
    await using broker = await startedBroker();
    await using podman = new Podman(folder, program);
    const before = { udp: inodesAt("udp", port), tcp: inodesAt("tcp", port) };
    await podman.start("one", ...["--runtime", runtime], ...(await options(broker)), ...filesOf(podman));
    for (const kind of ["udp", "tcp"] as const) {
      const [own, seen] = await who(kind, port);
      expect(seen).toBe(own);
    }
    expect(await tenant(broker)).toBe(await podman.pidOf("one"));
    await podman.ok("stop", "one");
    await expect.poll(() => tenant(broker)).toBeUndefined();
    const waiting = ask(port, "inode");
    await podman.ok("start", "one");
    expect([await waiting]).toEqual(before.udp);
    await podman.ok("restart", "one");
    expect([await ask(port, "inode")]).toEqual(before.udp);
    expect(await tenant(broker)).toBe(await podman.pidOf("one"));
    expect({ udp: inodesAt("udp", port), tcp: inodesAt("tcp", port) }).toEqual(before);
    expect(count(broker, "container")).toBe(3);
    expect(broker.log.filter(({ level }) => level === "warning")).toEqual([]);
  });

  it("serves on when its monitor is killed; the lease ends with its first process", async () => {
    await using broker = await startedBroker();
    await using podman = new Podman(folder, program);
    await podman.start("one", ...["--runtime", runtime], ...(await options(broker)), ...filesOf(podman));
    const inode = await ask(port, "inode");
    const pid = await podman.pidOf("one");
    process.kill(await podman.monitorOf("one"), "SIGKILL");
    expect(await ask(port, "inode")).toBe(inode);
    expect(await tenant(broker)).toBe(pid);
    process.kill(pid, "SIGKILL");
    await expect.poll(() => tenant(broker)).toBeUndefined();
    await podman.remove("one");
    await podman.start("two", ...["--runtime", runtime], ...(await options(broker)), ...filesOf(podman));
    expect(await ask(port, "inode")).toBe(inode);
  });
});

describe("a container of podman", { ...needs(...PODMAN), timeout: 60_000 }, () => {
  it("has the berth alone: a second one is refused, and the log says who has it", async () => {
    await using broker = await startedBroker();
    await using podman = new Podman(folder, program);
    const all = [...(await options(broker)), ...filesOf(podman)];
    await podman.start("one", ...all);
    const { code, stderr } = await podman.run(["run", "--rm", ...all]);
    expect([code, stderr]).toEqual([1, "cannot serve: udp -38, tcp -38\n"]);
    const { message } = await broker.logged(({ event }) => event === "container-refused");
    expect(message).toContain(`refused: berth arena is taken by pid ${await podman.pidOf("one")} (uid 0)`);
    expect([await ask(port, "inode")]).toEqual(inodesAt("udp", port));
  });

  it("serves on when the broker is killed; the next broker has the same sockets and the lease", async () => {
    const first = await startedBroker();
    let second: BrokerProcess | undefined;
    // After the container: its bind fallback has the broker's standard error as long as a container runs.
    await using _ = { [Symbol.asyncDispose]: async () => second?.[Symbol.asyncDispose]() };
    await using podman = new Podman(folder, program);
    await podman.start("one", ...(await options(first)), ...filesOf(podman));
    const inode = await ask(port, "inode");
    first.child.kill("SIGKILL");
    await first.exited;
    expect(await ask(port, "inode")).toBe(inode);
    const broker = await startedBroker();
    second = broker;
    expect(await tenant(broker)).toBe(await podman.pidOf("one"));
    await podman.ok("kill", "one");
    await expect.poll(() => tenant(broker)).toBeUndefined();
    expect(inodesAt("udp", port)).toEqual([inode]);
    await podman.ok("start", "one");
    expect(await ask(port, "inode")).toBe(inode);
  });

  it("serves by an image that was made of local files, as it is; what exec starts is answered", async () => {
    await using broker = await startedBroker();
    await using podman = new Podman(folder, program);
    const files = execFileSync("tar", ["-C", podman.rootfs, "-c", "."]);
    const change = `CMD ["/server", "${port}"]`;
    const imported = await podman.run(["import", "--change", change, "-", "server"], files);
    expect(imported.code).toBe(0);
    await podman.start("one", ...(await options(broker)), "server");
    const [own, seen] = await who("udp", port);
    expect(seen).toBe(own);
    expect([await ask(port, "inode")]).toEqual(inodesAt("udp", port));
    const { code, stderr } = await podman.run(["exec", "one", "/server", String(port + 1)]);
    expect([code, stderr]).toEqual([1, "cannot serve: udp -13, tcp -13\n"]);
    expect(count(broker, "container-refused")).toBe(0);
  });
});
