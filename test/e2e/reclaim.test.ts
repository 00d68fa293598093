/** A broker that ends with no service manager to keep anything, and the next one, which finds its tenants. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, linkSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { SLOT } from "../../src/broker/record/slot-file.ts";
import { FakeManager } from "../support/fake-manager.ts";
import { expectFdsAgain, leaksNothing, openFds, settledFds } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";
import { asUser } from "../support/wrap.ts";

leaksNothing("soon");

interface Listed {
  readonly name: string;
  readonly state: string;
  readonly lease?: { readonly id: string; readonly pid: number };
}

async function list(manager: FakeManager): Promise<Listed[]> {
  using peer = await RawPeer.connect(manager.socket);
  return (await peer.call("List"))?.parameters["berths"] as Listed[];
}

/** `socket:[inode]` of each socket a process has. */
function inodesOf(pid: number): string[] {
  return openFds(pid).flatMap((line) => line.match(/socket:.*$/) ?? []);
}

/** What stands in the slots of a file of leases. */
function entriesIn(file: string): Record<string, unknown>[] {
  const texts = readFileSync(file, "utf8").split("\0");
  return texts.flatMap((text) => (text.startsWith("{") ? [JSON.parse(text) as Record<string, unknown>] : []));
}

const said = ({ log }: FakeManager): string => log.map(({ message }) => message).join("\n");

interface World {
  readonly manager: FakeManager;
  readonly port: number;
  readonly tenant: Puppet;
  readonly lease: string;
}

/** A broker with one berth; its control socket. */
async function started(manager: FakeManager): Promise<string> {
  manager.config("a.toml", `[sockets.game]\nlisten = ["tcp://127.0.0.1:${await freePort()}"]\n`);
  await manager.start();
  return manager.socket;
}

/**
 * A tenant that has a berth with a TCP, a UDP and a UNIX socket, of a broker without a store; `b.fds` in its Python.
 */
async function world(test: (world: World) => Promise<void>): Promise<void> {
  await using manager = new FakeManager();
  const port = await freePort();
  const listen = [`tcp://127.0.0.1:${port}`, `udp://127.0.0.1:${port}`, `unix://${manager.folder.path}/s`];
  manager.config("a.toml", `[sockets.game]\nlisten = ${JSON.stringify(listen)}\n`);
  await manager.start();
  await using tenant = await Puppet.connect(manager.socket);
  const lease = await tenant.acquire("a");
  await test({ manager, port, tenant, lease });
}

describe("a tenant's sockets and lease", () => {
  it.each(["SIGKILL", "SIGTERM"] as const)("are taken back from it after %s, and serve on in between", (signal) =>
    world(async ({ manager, port, tenant, lease }) => {
      await manager.end(signal);
      const path = `${manager.folder.path}/s`;
      const before = lstatSync(path).ino;
      // Two wait in the backlog while there is no broker.
      const waiting = [await connected(port), connect(path)];
      await manager.start();
      expect(said(manager)).toMatch(/restored from an earlier broker: 3 sockets; 1 berths still have their tenants/);
      expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { id: lease, pid: tenant.pid } }]);
      const shared = inodesOf(manager.child?.pid ?? -1);
      const theirs = (await tenant.do("result = ['socket:[%d]' % os.fstat(fd).st_ino for fd in b.fds]")) as string[];
      expect(theirs).toHaveLength(3);
      expect(shared).toEqual(expect.arrayContaining(theirs));
      expect(await tenant.acquire("a").catch(String)).toMatch(/BrokenPipe|ConnectionReset|closed|died/);
      expect(lstatSync(path).ino).toBe(before);

      // The end of the tenant is seen, and what waited goes to its successor.
      await tenant.kill();
      await expect.poll(async () => (await list(manager))[0]?.state).toBe("vacant");
      await using successor = await Puppet.connect(manager.socket);
      await successor.acquire("a");
      const accept = "import socket; result = socket.socket(fileno=os.dup(b.fds[%d])).accept()[0].fileno() > 0";
      expect(await successor.do(accept.replace("%d", "0"))).toBe(true);
      expect(await successor.do(accept.replace("%d", "2"))).toBe(true);
      for (const socket of waiting) socket.destroy();
    }),
  );

  it("are written down for as long as the lease, for the broker's user alone", () =>
    world(async ({ manager, tenant, lease }) => {
      const file = `${manager.socket}.leases`;
      expect(lstatSync(file).mode & 0o777).toBe(0o600);
      await tenant.call("Ready", { lease });
      expect(entriesIn(file)).toMatchObject([{ lease, ready: true }]);
      await tenant.call("Release", { lease });
      expect(entriesIn(file)).toEqual([]);
    }));

  it("are given up when it exits while there is no broker", () =>
    world(async ({ manager, port, tenant }) => {
      await manager.end();
      await tenant.kill();
      await manager.start();
      expect(said(manager)).toContain(
        `berth a: pid ${tenant.pid} no longer has it: it exited while no broker was running`,
      );
      expect(await list(manager)).toMatchObject([{ name: "a", state: "vacant" }]);
      expect(entriesIn(`${manager.socket}.leases`)).toEqual([]);
      (await connected(port)).destroy();
    }));

  it("are not those of another process that has got its number", () =>
    world(async ({ manager, tenant }) => {
      await manager.end();
      const file = `${manager.socket}.leases`;
      const [written] = entriesIn(file);
      await tenant.do("for fd in b.fds: os.close(fd)\nresult = None");
      writeFileSync(file, `${JSON.stringify({ ...written, process: `${written?.["process"]}0` })}\0`);
      await manager.start();
      expect(await list(manager)).toMatchObject([{ state: "vacant" }]);
    }));

  it("are the very ones: another socket on the same address stays the tenant's", () =>
    world(async ({ manager, port, tenant }) => {
      await manager.end();
      // The process that keeps copies of the broker's sockets ends a moment after the broker.
      await tenant.do(`import socket, time
for fd in b.fds: os.close(fd)
for attempt in range(1000):
    try:
        other = socket.create_server(("127.0.0.1", ${port}))
        break
    except OSError:
        if attempt == 999: raise
        time.sleep(0.01)
result = None`);
      await manager.start();
      expect(said(manager)).toMatch(/EADDRINUSE/);
      expect(await list(manager)).toMatchObject([
        { descriptors: [{ kind: "datagram" }, { kind: "stream" }], problems: [{ line: 2 }] },
      ]);
      await tenant.do("other.close()\nresult = None");
      await manager.until(() => said(manager).includes("its problem is gone"));
      expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { pid: tenant.pid } }]);
    }));

  it("go with the tenant when the configuration has no such berth any more, and it is said", () =>
    world(async ({ manager, tenant }) => {
      await manager.end();
      rmSync(`${manager.folder.path}/config/a.toml`);
      await manager.start();
      expect(said(manager)).toContain(
        `berth a: no longer configured; its sockets stay open while pid ${tenant.pid} has them`,
      );
      await tenant.kill();
      await manager.until(() => said(manager).includes(`berth a: pid ${tenant.pid} no longer has it: it exited`));
      await expect.poll(() => entriesIn(`${manager.socket}.leases`)).toEqual([]);
    }));

  it("wait in their files while the configuration is wrong", () =>
    world(async ({ manager, tenant, lease }) => {
      await manager.end();
      manager.config("b.toml", "wrong = true\n");
      manager.launch(["--strict"]);
      await manager.exited();
      rmSync(`${manager.folder.path}/config/b.toml`);
      await manager.start();
      expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { id: lease, pid: tenant.pid } }]);
    }));
});

/** What can be in the place of the record of leases. */
const unbelievable: readonly (readonly [string, (file: string) => void])[] = [
  ["that others may read", (file) => writeFileSync(file, "", { mode: 0o644 })],
  ["that is a link", (file) => symlinkSync("/etc/passwd", file)],
  ["that is a folder", (file) => mkdirSync(file)],
  ["that is a pipe", (file) => execFileSync("mkfifo", [file])],
  ["that is another program's", (file) => writeFileSync(file, "root:x:0:0", { mode: 0o600 })],
];

it.each(unbelievable)("a file of leases %s is set aside, and the broker writes one of its own", async (_, make) => {
  await using manager = new FakeManager();
  const file = `${manager.socket}.leases`;
  make(file);
  const made = lstatSync(file).ino;
  await using tenant = await Puppet.connect(await started(manager));
  expect(said(manager)).toMatch(/cannot believe .*\.leases, so it was renamed .*\.leases\.unusable-1: /);
  expect(lstatSync(`${file}.unusable-1`).ino).toBe(made);
  const lease = await tenant.acquire("a");
  expect(entriesIn(file)).toMatchObject([{ lease }]);
});

describe("a broker whose record of leases is lost, while a server lives", () => {
  const losses: typeof unbelievable = [
    ["gone", () => undefined],
    ["empty", (file) => writeFileSync(file, "", { mode: 0o600 })],
    ["cut", (file) => writeFileSync(file, '{"serial":1,"pid":', { mode: 0o600 })],
    ...unbelievable,
  ];

  it.each(losses)("starts with one %s, and the server has its berth still", (_, make) =>
    world(async ({ manager, port, tenant }) => {
      await manager.end();
      const file = `${manager.socket}.leases`;
      rmSync(file);
      make(file);
      await manager.start();
      expect(said(manager)).toContain(`no record names its tenant; pid ${tenant.pid} has its sockets`);
      expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { pid: tenant.pid } }]);
      const shared = inodesOf(manager.child?.pid ?? -1);
      const theirs = (await tenant.do("result = ['socket:[%d]' % os.fstat(fd).st_ino for fd in b.fds]")) as string[];
      expect(shared).toEqual(expect.arrayContaining(theirs));
      (await connected(port)).destroy();
      await tenant.kill();
      await expect.poll(async () => (await list(manager))[0]?.state).toBe("vacant");
      await using next = await Puppet.connect(manager.socket);
      await next.acquire("a");
    }),
  );

  it("knows it by its user, when nothing of the earlier broker is left (needs root)", needs("root"), async () => {
    await using manager = new FakeManager();
    const port = await freePort();
    const berth = (user: string): string =>
      `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n[tenant]\nusers = ["${user}"]\n`;
    manager.config("a.toml", berth("nobody"));
    await manager.start();
    await using tenant = await Puppet.connect(manager.socket, { uid: 65534, gid: 65534 });
    await tenant.acquire("a");
    await manager.end();
    for (const name of ["leases", "lock"]) rmSync(`${manager.socket}.${name}`);
    manager.config("a.toml", berth("daemon"));
    await manager.start();
    // Of a user that may not take the berth it is any program's.
    expect(said(manager)).toMatch(
      new RegExp(`EADDRINUSE.*pid ${tenant.pid} \\(python3?[^)]*\\) has this address`, "s"),
    );
    await manager.end();
    rmSync(`${manager.socket}.lock`);
    manager.config("a.toml", berth("nobody"));
    await manager.start();
    expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { pid: tenant.pid } }]);
  });

  it("leaves another program of its own user its port, and names it", async () => {
    await using manager = new FakeManager();
    await started(manager);
    await manager.end();
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    manager.config("a.toml", `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n`);
    await manager.start();
    expect(said(manager)).toContain(`pid ${process.pid} (`);
    server.close();
    await once(server, "close");
  });
});

it("one that has a second name is set aside, and the other is not changed", async () => {
  await using manager = new FakeManager();
  manager.folder.write({ other: '{"mine":true}\n' });
  const other = `${manager.folder.path}/other`;
  chmodSync(other, 0o600);
  linkSync(other, `${manager.socket}.leases`);
  await using tenant = await Puppet.connect(await started(manager));
  await tenant.acquire("a");
  expect(said(manager)).toMatch(/cannot believe .*\.leases/);
  expect(readFileSync(other, "utf8")).toBe('{"mine":true}\n');
});

it("a handover that was over, but for striking out who had the berth before, is over", async () => {
  await using manager = new FakeManager();
  await using one = await Puppet.connect(await started(manager));
  await one.acquire("a");
  const [before] = entriesIn(`${manager.socket}.leases`);
  await using two = await Puppet.connect(manager.socket);
  const lease = await two.acquire("a", "try");
  expect(entriesIn(`${manager.socket}.leases`)).toHaveLength(2);
  await two.call("Ready", { lease });
  const file = `${manager.socket}.leases`;
  expect(entriesIn(file)).toMatchObject([{ lease, incoming: false, ready: true }]);
  await manager.end();
  const slots = [before, ...entriesIn(file)].map((entry) => Buffer.concat([Buffer.from(JSON.stringify(entry))], SLOT));
  writeFileSync(file, Buffer.concat(slots));
  await manager.start();
  expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { id: lease, pid: two.pid } }]);
});

it("a handover goes on, whichever of its two tenants was recorded last", () =>
  world(async ({ manager, tenant, lease }) => {
    await using young = await Puppet.connect(manager.socket);
    const newcomer = await young.acquire("a", "try");
    const file = `${manager.socket}.leases`;
    for (const first of [lease, newcomer]) {
      if (first === newcomer) await tenant.do(`b = Broker(${JSON.stringify(manager.socket)})`);
      // What is recorded again is recorded last.
      if (first === newcomer) await tenant.call("Ready", { lease });
      const serials = entriesIn(file).toSorted((a, b) => Number(a["serial"]) - Number(b["serial"]));
      expect(serials.map((entry) => [entry["lease"], entry["incoming"]])).toEqual(
        first === lease
          ? [
              [lease, false],
              [newcomer, true],
            ]
          : [
              [newcomer, true],
              [lease, false],
            ],
      );
      await manager.end();
      await manager.start();
      expect(await list(manager)).toMatchObject([{ state: "handover", lease: { id: lease, pid: tenant.pid } }]);
    }
  }));

it("a reload that wants the port of a tenant's socket for another is refused, and the next broker finds that socket", () =>
  world(async ({ manager, port, tenant, lease }) => {
    const before = entriesIn(`${manager.socket}.leases`);
    manager.config("a.toml", `[sockets.game]\nlisten = ["tcp://0.0.0.0:${port}"]\n`);
    manager.child?.kill("SIGHUP");
    await manager.until(() => said(manager).includes("the configuration was not reloaded"));
    expect(said(manager)).toMatch(new RegExp(`bind tcp://0.0.0.0:${port}: EADDRINUSE`));
    expect(entriesIn(`${manager.socket}.leases`)).toEqual(before);
    await manager.end();
    manager.config("a.toml", `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n`);
    await manager.start();
    expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { id: lease, pid: tenant.pid } }]);
    (await connected(port)).destroy();
  }));

/** The command may write no byte to a file, memfds included. */
const withoutFiles = ["sh", "-c", 'ulimit -f 0 && exec "$@"', "sh"];

it("a lease that cannot be restored keeps no broker from starting, and none from serving", async () => {
  await using manager = new FakeManager();
  manager.config("a.toml", '[sockets.game]\nlisten = ["tcp://127.0.0.1:0"]\n');
  await manager.start();
  await using tenant = await Puppet.connect(manager.socket);
  await tenant.acquire("a");
  await manager.end();
  manager.wrap = withoutFiles;
  await manager.start();
  expect(said(manager)).toMatch(new RegExp(`berth a: the lease of pid ${tenant.pid} could not be restored: .*EFBIG`));
  await using next = await Puppet.connect(manager.socket);
  await next.acquire("a");
  expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { pid: next.pid } }]);
});

it("a record that cannot be read to its end keeps no broker from starting, and none from serving", async () => {
  await using manager = new FakeManager();
  await started(manager);
  await manager.end();
  // What is no entry is struck out, which fails: files may have no byte.
  writeFileSync(`${manager.socket}.leases`, "{\0");
  manager.wrap = withoutFiles;
  await manager.start();
  expect(said(manager)).toMatch(/cannot write .*\.leases, so the next broker cannot restore the leases: .*EFBIG/);
  await using tenant = await Puppet.connect(manager.socket);
  await tenant.acquire("a");
  expect(await list(manager)).toMatchObject([{ state: "occupied" }]);
});

it("of two entries of one lease the newer one counts, and what is no entry is nothing", async () => {
  await using manager = new FakeManager();
  await using tenant = await Puppet.connect(await started(manager));
  const lease = await tenant.acquire("a");
  await manager.end();
  const file = `${manager.socket}.leases`;
  const [written] = entriesIn(file);
  const slot = (text: string): Buffer => Buffer.concat([Buffer.from(text)], SLOT);
  const entry = (serial: number, ready: boolean): Buffer => slot(JSON.stringify({ ...written, serial, ready }));
  writeFileSync(file, Buffer.concat([entry(8, true), slot("{"), slot(""), entry(7, false), slot("{}")]));
  await manager.start();
  expect(await list(manager)).toMatchObject([{ lease: { id: lease, pid: tenant.pid }, ready: true }]);
  expect(entriesIn(file)).toMatchObject([{ lease, ready: true }]);
});

it(
  "a broker without root takes back from its own user's servers (needs root to become one)",
  needs("root", "setpriv"),
  async () => {
    const before = await settledFds();
    {
      await using manager = new FakeManager({ wrap: asUser(65534) });
      for (const path of [manager.folder.path, `${manager.folder.path}/notify`]) chmodSync(path, 0o777);
      const port = await freePort();
      manager.config("a.toml", `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n`);
      await manager.start();
      await using tenant = await Puppet.connect(manager.socket);
      // After a change of ids a process is nobody's to look into but root's: PR_SET_DUMPABLE, as by execve(2).
      await tenant.do(`import ctypes
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)
b = Broker(${JSON.stringify(manager.socket)})
result = None`);
      const lease = await tenant.acquire("a");
      await manager.end();
      await manager.start();
      expect(await list(manager)).toMatchObject([{ state: "occupied", lease: { id: lease, pid: tenant.pid } }]);

      await tenant.do("ctypes.CDLL(None).prctl(4, 0); result = None");
      await manager.end();
      await manager.start();
      expect(said(manager)).toMatch(
        /has sockets that cannot be duplicated from it \(readlink \/proc\/\d+\/fd: EACCES\): run the broker as root/,
      );
    }
    await expectFdsAgain(before);
  },
);
