/** A broker that takes over from the one that runs (`--replace`), each in a process of its own, without systemd. */
import { existsSync, lstatSync, rmSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { Broker } from "../../src/broker/broker.ts";
import { Predecessor } from "../../src/broker/restart/takeover-client.ts";
import { Dynasty } from "../support/dynasty.ts";
import { leaksNothing, openFds } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";
import { lasting, list, patiently, said } from "../support/succession.ts";

leaksNothing("soon");

/** Inodes of a process's sockets. */
const socketsOf = (pid: number): string[] => openFds(pid).flatMap((fd) => /socket:\[\d+\]/.exec(fd)?.[0] ?? []);

/** Asks one thing again and again, from several sides, until it is stopped. */
class Load {
  readonly #running: Promise<void>[];
  #stopped = false;
  done = 0;
  readonly failures: unknown[] = [];

  constructor(sides: number, ask: () => Promise<void>) {
    const side = async (): Promise<void> => {
      while (!this.#stopped) {
        await ask().catch((error: unknown) => this.failures.push(error));
        this.done++;
      }
    };
    this.#running = Array.from({ length: sides }, side);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }
}

describe("a broker that takes over", { timeout: 60_000 }, () => {
  it("five times in a row, has everything the last one had, and nobody is refused meanwhile", async () => {
    await using dynasty = new Dynasty();
    const port = await freePort();
    const path = `${dynasty.folder.path}/s`;
    dynasty.config({ "a.toml": `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}", "unix://${path}"]\n` });
    const first = await dynasty.start(["--state", `${dynasty.folder.path}/state`]);
    await using tenant = await Puppet.connect(dynasty.socket);
    const lease = await tenant.acquire("a");
    await tenant.call("Stash", { lease, name: "players" }, '[os.memfd_create("players")]');
    // One open file twice: it is packed.
    await tenant.call("Stash", { lease, name: "again" }, "[b.fds[0]]");
    await tenant.call("Ready", { lease });
    await tenant.do(`
import threading
def serve(listener):
    while True: listener.accept()[0].close()
threading.Thread(target=serve, args=(held(b.fds[0]),), daemon=True).start()`);
    const paths = [path, first.socket, `${first.socket}.notify`];
    const inodes = (): bigint[] => paths.map((one) => lstatSync(one, { bigint: true }).ino);
    const [berths, before] = [await list(first.socket), inodes()];
    const held = (await tenant.do('result = [os.readlink("/proc/self/fd/%d" % fd) for fd in b.fds[:2]]')) as string[];

    const players = new Load(4, async () => void (await connected(port)).destroy());
    let cutOff = 0;
    const clients = new Load(2, async () => {
      using peer = await RawPeer.connect(first.socket);
      const reply = await peer.call("List");
      if (reply === undefined) cutOff++;
      else expect(lasting(reply.parameters["berths"] as object[])).toEqual(berths);
    });
    for (let n = 0; n < 5; n++) {
      const old = dynasty.broker;
      const heir = await dynasty.start(["--replace", "must", "--state", `${dynasty.folder.path}/state`]);
      await old.logged(({ message }) => message === `replaced by pid ${heir.pid}`);
      await old.exited;
      expect(old.child.exitCode).toBe(0);
      expect(said(heir)).toContain(`took over from pid ${old.pid}`);
      expect(await list(heir.socket)).toEqual(berths);
      expect(inodes()).toEqual(before);
      expect(socketsOf(heir.pid)).toEqual(expect.arrayContaining(held));
    }
    await Promise.all([players.stop(), clients.stop()]);
    expect([...players.failures, ...clients.failures]).toEqual([]);
    expect(Math.min(players.done, clients.done)).toBeGreaterThan(50);
    // Only a call that was under way may be cut off: as many as there were sides, each time.
    expect(cutOff).toBeLessThanOrEqual(10);

    await tenant.do(`b = Broker(${JSON.stringify(first.socket)})`);
    expect(await tenant.acquire("a")).toBe(lease);
    expect(await tenant.do("result = len(b.fds)")).toBe(4);
    await tenant.kill();
    await expect.poll(async () => (await list(first.socket)).map(({ state }) => state), patiently).toEqual(["vacant"]);
    dynasty.broker.child.kill("SIGTERM");
    await dynasty.broker.exited;
    expect(paths.filter(existsSync)).toEqual([]);
  });

  it("reads the configuration as it is now: what is gone is closed, with its path, and what stays keeps it", async () => {
    await using dynasty = new Dynasty();
    const [goes, stays] = [`${dynasty.folder.path}/goes`, `${dynasty.folder.path}/stays`];
    const port = await freePort();
    const stay = `[sockets.s]\nlisten = ["unix://${stays}"]\n`;
    dynasty.config({
      "goes.toml": `[sockets.s]\nlisten = ["unix://${goes}", "tcp://127.0.0.1:${port}"]\n`,
      "stays.toml": stay,
    });
    await dynasty.start();
    await using tenant = await Puppet.connect(dynasty.socket);
    const lease = await tenant.acquire("goes");
    await tenant.call("Stash", { lease, name: "state" }, '[os.memfd_create("x")]');
    await tenant.do("[os.close(fd) for fd in b.fds]");
    await tenant.call("Release", { lease });
    const { ino } = lstatSync(stays);
    rmSync(`${dynasty.folder.path}/config/goes.toml`);
    dynasty.config({ "new.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    const heir = await dynasty.replace();
    expect((await list(heir.socket)).map(({ name }) => name)).toEqual(["new", "stays"]);
    expect([existsSync(goes), lstatSync(stays).ino]).toEqual([false, ino]);
    await expect(connected(port)).rejects.toThrow("ECONNREFUSED");
    expect(said(heir)).toMatch(/no berth uses .*socket\.goes\.s/);
    expect(said(heir)).toMatch(/the stashed state was closed/);
  });

  it("hands over several hundred descriptors, in several messages, and goes on with a takeover of a berth", async () => {
    await using dynasty = new Dynasty();
    for (let n = 0; n < 150; n++)
      dynasty.config({ [`b${n}.toml`]: '[sockets.s]\nlisten = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]\n' });
    await dynasty.start();
    await using old = await Puppet.connect(dynasty.socket);
    await using young = await Puppet.connect(dynasty.socket);
    const leases = [await old.acquire("b7"), await young.acquire("b7", "must")];
    const before = await list(dynasty.socket);
    await dynasty.replace();
    expect(await list(dynasty.socket)).toEqual(before);
    await young.do(`b = Broker(${JSON.stringify(dynasty.socket)})`);
    expect((await young.call("Ready", { lease: leases[1] })).error).toBeUndefined();
    expect((await list(dynasty.socket)).find(({ name }) => name === "b7")).toMatchObject({
      state: "occupied",
      lease: { id: leases[1] },
    });
  });

  it("finds the one that runs also where the path of its socket is written in another way", async () => {
    await using dynasty = new Dynasty();
    dynasty.config({ "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    const old = await dynasty.start();
    const { ino } = lstatSync(old.socket);
    symlinkSync(dynasty.folder.path, `${dynasty.folder.path}/link`);
    const heir = await dynasty.start(["--replace", "must", "--socket", `${dynasty.folder.path}/link/broker.sock`]);
    await old.exited;
    expect([old.child.exitCode, lstatSync(heir.socket).ino]).toEqual([0, ino]);
    expect((await list(heir.socket)).map(({ name }) => name)).toEqual(["a"]);
  });

  it("hears what a tenant says by sd_notify(3) to the socket that the last one gave it", async () => {
    await using dynasty = new Dynasty();
    dynasty.config({ "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' });
    await dynasty.start();
    await using tenant = await Puppet.connect(dynasty.socket);
    await tenant.acquire("a");
    await tenant.do(
      `n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); n.connect(${JSON.stringify(`${dynasty.socket}.notify`)})`,
    );
    await dynasty.replace();
    await tenant.do('n.send(b"STATUS=still here")');
    await expect
      .poll(async () => await list(dynasty.socket), patiently)
      .toMatchObject([{ name: "a", state: "occupied", status: "still here" }]);
  });

  it("has the roots of living tenants (needs root)", needs("root"), async () => {
    await using dynasty = new Dynasty();
    dynasty.folder.write({ "image/etc/motd": "image" });
    const image = `${dynasty.folder.path}/image`;
    dynasty.config({ "a.toml": `[root]\nimage = "${image}"\nstate = "volatile"\n` });
    const state = ["--state", `${dynasty.folder.path}/state`];
    await dynasty.start(state);
    await using tenant = await Puppet.connect(dynasty.socket);
    const lease = await tenant.acquire("a");
    await tenant.do('os.close(os.open("mine", os.O_CREAT, dir_fd=b.fds[-1]))');
    const old = dynasty.broker;
    await dynasty.start(["--replace", "try", ...state]);
    await old.exited;
    await tenant.do(`b = Broker(${JSON.stringify(dynasty.socket)})`);
    expect(await tenant.acquire("a")).toBe(lease);
    expect(await tenant.do('result = sorted(os.listdir("/proc/self/fd/%d" % b.fds[-1]))')).toEqual(["etc", "mine"]);
  });

  it.each(["SIGKILL", "SIGTERM"] as const)(
    "goes on alone when the last one ends by %s before it is told to",
    async (signal) => {
      await using dynasty = new Dynasty();
      const port = await freePort();
      const path = `${dynasty.folder.path}/vacant`;
      dynasty.config({
        "a.toml": `[sockets.s]\nlisten = ["tcp://127.0.0.1:${port}"]\n`,
        "b.toml": `[sockets.s]\nlisten = ["unix://${path}"]\n`,
      });
      const old = await dynasty.start();
      await using tenant = await Puppet.connect(dynasty.socket);
      const lease = await tenant.acquire("a");
      const { socket, folder } = old;
      const predecessor = await Predecessor.find(socket);
      if (predecessor === undefined) throw new Error("nobody listens");
      const reallyConfirm = predecessor.confirm.bind(predecessor);
      vi.spyOn(predecessor, "confirm").mockImplementation(async () => {
        old.child.kill(signal);
        await old.exited;
        await reallyConfirm();
      });
      await using _ = await Broker.start({ config: [`${folder.path}/config`], socket, predecessor });
      expect(await list(socket)).toMatchObject([{ name: "a", lease: { id: lease, pid: tenant.pid } }, { name: "b" }]);
      (await connected(port)).destroy();
      expect(lstatSync(path).isSocket()).toBe(true);
    },
  );

  it("opens anew what nobody can reach any more, for its path was removed", async () => {
    await using dynasty = new Dynasty();
    const path = `${dynasty.folder.path}/s`;
    dynasty.config({ "a.toml": `[sockets.s]\nlisten = ["unix://${path}"]\n` });
    const old = await dynasty.start();
    rmSync(path);
    rmSync(`${old.socket}.notify`);
    await dynasty.replace();
    await using tenant = await Puppet.connect(dynasty.socket);
    await tenant.acquire("a");
    expect(await tenant.do("result = os.fstat(b.fds[0]).st_ino")).toBeTypeOf("number");
    for (const one of [path, `${old.socket}.notify`]) expect(lstatSync(one).isSocket()).toBe(true);
    connect(path).destroy();
  });
});

describe("--replace", () => {
  const config = { "a.toml": '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n' };

  it("must, and nobody is there: says so, and starts nothing", async () => {
    await using dynasty = new Dynasty();
    dynasty.config(config);
    const broker = dynasty.launch(["--replace", "must"]);
    await broker.closed;
    expect([broker.child.exitCode, said(broker)]).toEqual([
      111,
      `berthd: no broker to take over from at ${broker.socket}: no program listens there; --replace try starts anyway`,
    ]);
  });

  it("try, and nobody is there, or one that has died: starts as ever", async () => {
    await using dynasty = new Dynasty();
    dynasty.config(config);
    const first = await dynasty.start(["--replace", "try"]);
    first.child.kill("SIGKILL");
    await first.exited;
    const next = await dynasty.start(["--replace", "try"]);
    expect((await list(next.socket)).map(({ name }) => name)).toEqual(["a"]);
  });

  it("no, the default, and one runs: is refused, and the other one not asked", async () => {
    await using dynasty = new Dynasty();
    dynasty.config(config);
    const first = await dynasty.start();
    for (const extra of [[], ["--replace", "no"]]) {
      const next = dynasty.launch(extra);
      await next.closed;
      expect([next.child.exitCode, said(next)]).toEqual([111, expect.stringContaining("another broker is running")]);
    }
    expect(said(first)).not.toContain("takes over");
    expect((await list(first.socket)).map(({ name }) => name)).toEqual(["a"]);
  });
});
