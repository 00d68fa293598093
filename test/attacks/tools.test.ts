/** The attacks' own tools do what the tests rely on: without that no attack is one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fstatSync, openSync, statfsSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { Attacker, call } from "../support/attacks/attacker.ts";
import { Pinger } from "../support/attacks/pinger.ts";
import { type FuseRequest, StuckFuse } from "../support/attacks/stuck-fuse.ts";
import { descriptorCount, isAlive, ownKiB, stuckThreads } from "../support/attacks/vitals.ts";
import { spawnBroker } from "../support/broker.ts";
import { mountsHere } from "../support/folders.ts";
import { needs } from "../support/needs.ts";
import { Puppet } from "../support/puppet.ts";

const berth = { "a.toml": '[sockets.a]\nlisten = ["udp://127.0.0.1:0"]\n[tenant]\nusers = [65534]' };

describe("a FUSE file system that does not answer", needs("root"), () => {
  const before = mountsHere();
  afterEach(() => expect(mountsHere()).toEqual(before));

  it("answers all that it is not told to withhold", async () => {
    await using fuse = await StuckFuse.mount();
    await fuse.withhold("FLUSH");
    await fuse.answer();
    const fd = openSync(fuse.file, "r+");
    expect(fstatSync(fd).size).toBe(4096);
    expect(statfsSync(fuse.file).bsize).toBe(4096);
    closeSync(fd);
    expect(fuse.withheld("FLUSH")).toBe(0);
  });

  it.each([
    ["GETATTR", "os.fstat(f)"],
    ["READ", "os.read(f, 9)"],
    ["STATFS", "os.fstatvfs(f)"],
    ["FLUSH", "os.close(f)"],
  ] satisfies [FuseRequest, string][])("holds up whoever needs %s, until it answers or ends", async (request, code) => {
    await using broker = await spawnBroker(berth);
    await using one = await Puppet.connect(broker.socket);
    await using other = await Puppet.connect(broker.socket);
    await using fuse = await StuckFuse.mount();
    const open = `f = os.open("${fuse.file}", os.O_RDONLY)`;
    await one.do(open);
    await fuse.withhold(request);
    const first = one.do(code);
    expect(await fuse.stuck(request)).toBe(one.pid);
    await fuse.answer();
    await first;
    await other.do(open);
    await fuse.withhold(request);
    const second = other.do(code).then(
      () => "went on",
      () => "failed",
    );
    await expect.poll(() => fuse.withheld(request)).toBe(2);
    await fuse[Symbol.asyncDispose]();
    expect(await second).toMatch(/went on|failed/);
    expect([...stuckThreads(one.pid), ...stuckThreads(other.pid)]).toEqual([]);
  });
});

describe("an attacker", needs("root"), () => {
  it.each(["uffd", "page"])("holds a socket's lock by %s, and lets go of it when it is killed", async (way) => {
    await using broker = await spawnBroker(berth);
    await using fuse = await StuckFuse.mount(["READ"]);
    await using attacker = new Attacker(65534);
    await using puppet = await Puppet.connect(broker.socket);
    await attacker.do(`connect c ${broker.socket}`);
    await attacker.call("c", "Acquire", { berth: "a" });
    const held = `os.pidfd_open(${attacker.pid}), ${await attacker.do("numbers received")}`;
    await puppet.do(`import ctypes; s = socket.socket(fileno=ctypes.CDLL(None).syscall(438, ${held}, 0))`);
    await puppet.do("result = s.getsockname()[0]");
    await attacker.do(`hold received ${way} ${way === "page" ? fuse.file : ""}`);
    if (way === "page") await fuse.stuck("READ");
    const waits = puppet.do("result = s.getsockname()[0]");
    await expect.poll(() => stuckThreads(puppet.pid)).toEqual([puppet.pid]);
    await fuse[Symbol.asyncDispose]();
    await attacker[Symbol.asyncDispose]();
    expect(await waits).toBe("127.0.0.1");
  });

  it("sends bytes with descriptors of every kind, and is another user", async () => {
    await using broker = await spawnBroker(berth);
    await using attacker = new Attacker(65534);
    await attacker.do(`connect c ${broker.socket}`);
    await attacker.call("c", "Acquire", { berth: "a" });
    for (const kind of ["tcp", "lingering", "loaded", "pipe-in", "memfd", "namespace", "epoll", "path"]) {
      await attacker.do(`make f ${kind}`);
      await attacker.do(`send c f*3 ${call("List")}`);
      expect(await attacker.do("receive c")).toContain("takes 0 descriptors, not 3");
    }
    await attacker.do("bytes c - 7b7d00");
    expect(await attacker.do("receive c")).toContain("InvalidParameter");
    await broker.logged(({ event, message }) => event === "protocol-error" && message.includes("uid 65534"));
    expect(await attacker.try("make f nonsense")).toEqual({ error: "ENOSYS", text: "" });
    await attacker.do("record");
    await attacker.do("close f");
    expect(Number(await attacker.do("repeat 0.01"))).toBeGreaterThan(1);
  });
});

describe("a pinger", () => {
  it.each(["kept", "new"] as const)(
    "measures how long a broker is stopped, with a %s connection",
    async (connection) => {
      await using broker = await spawnBroker(berth);
      await using calm = await Pinger.start(broker.socket, { connection });
      expect(await calm.stop()).toMatchObject({ refused: 0, cut: 0 });
      await using pinger = await Pinger.start(broker.socket, { connection });
      broker.child.kill("SIGSTOP");
      const start = performance.now();
      await expect.poll(() => performance.now() - start).toBeGreaterThan(1000);
      broker.child.kill("SIGCONT");
      const { longest, pings, refused, cut } = await pinger.stop();
      // What is withheld meanwhile from the pinger itself does not count.
      expect(longest).toBeGreaterThan(500);
      expect(pings).toBeGreaterThan(1);
      expect({ refused, cut }).toEqual({ refused: 0, cut: 0 });
    },
  );

  it("does not count how long a broker that could run had no processor", needs("taskset", "chrt", "root"), async () => {
    await using broker = await spawnBroker(berth, [], ["taskset", "--cpu-list", "0"]);
    await using pinger = await Pinger.start(broker.socket);
    const hog = ["taskset", "--cpu-list", "0", "chrt", "--fifo", "1", "sh", "-c", "while :; do :; done"];
    await once(spawn("timeout", ["1", ...hog], { stdio: "inherit" }), "exit");
    const { longest, withheld } = await pinger.stop();
    expect(withheld).toBeGreaterThan(350);
    expect(longest).toBeLessThan(350);
  });

  it("counts what is refused and what is cut off", async () => {
    await using broker = await spawnBroker(berth);
    await using unknown = await Pinger.start(broker.socket, { method: "io.berthd.Broker.Nothing" });
    await using pinger = await Pinger.start(broker.socket);
    const wrong = await unknown.stop();
    expect(wrong).toMatchObject({ cut: 0, refused: wrong.pings });
    broker.child.kill("SIGKILL");
    await broker.exited;
    expect((await pinger.stop()).cut).toBeGreaterThan(0);
  });
});

it("a process's vitals are those of proc(5), and none of one that is gone", async () => {
  await using broker = await spawnBroker(berth);
  expect(ownKiB(broker.pid)).toBeGreaterThan(5000);
  expect(descriptorCount(broker.pid)).toBeGreaterThan(5);
  expect(isAlive(broker.pid)).toBe(true);
  broker.child.kill("SIGKILL");
  await broker.exited;
  expect(isAlive(broker.pid)).toBe(false);
});
