/** A berth whose file is missing when a broker starts, while its tenant lives: nothing of it is lost. */
import { existsSync, lstatSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Dynasty } from "../support/dynasty.ts";
import { FakeManager } from "../support/fake-manager.ts";
import { leaksNothing } from "../support/fds.ts";
import { RawPeer } from "../support/peer.ts";
import { connected, freePort } from "../support/ports.ts";
import { Puppet } from "../support/puppet.ts";

leaksNothing("soon");

const other = '[sockets.s]\nlisten = ["tcp://127.0.0.1:0"]\n';

async function ask(socket: string, method: string): Promise<Record<string, unknown> | undefined> {
  using peer = await RawPeer.connect(socket);
  return (await peer.call(method))?.parameters;
}

async function list(socket: string): Promise<Record<string, unknown>[]> {
  return (await ask(socket, "List"))?.["berths"] as Record<string, unknown>[];
}

/** What a broker does that follows another, by a service manager's store, by the record of leases, or by a takeover. */
interface Broker extends AsyncDisposable {
  readonly folder: { readonly path: string };
  readonly socket: string;
  config(name: string, text: string): void;
  start(): Promise<unknown>;
  /** The next broker is there. */
  succeed(): Promise<void>;
  said(): string;
  /** Resolves once the broker has said it. */
  says(text: string): Promise<unknown>;
}

function underManager(max?: number): Broker {
  const manager = new FakeManager(max === undefined ? {} : { max });
  return {
    folder: manager.folder,
    socket: manager.socket,
    config: (name, text) => manager.config(name, text),
    start: () => manager.start(),
    succeed: async () => {
      await manager.end();
      await manager.start();
    },
    said: () => manager.log.map(({ message }) => message).join("\n"),
    says: (text) => manager.until(() => manager.log.some(({ message }) => message.includes(text))),
    [Symbol.asyncDispose]: () => manager[Symbol.asyncDispose](),
  };
}

function ofDynasty(): Broker {
  const dynasty = new Dynasty();
  return {
    folder: dynasty.folder,
    get socket() {
      return dynasty.socket;
    },
    config: (name, text) => dynasty.config({ [name]: text }),
    start: () => dynasty.start(),
    succeed: async () => {
      await dynasty.replace();
    },
    said: () => dynasty.broker.log.map(({ message }) => message).join("\n"),
    says: (text) => dynasty.broker.logged(({ message }) => message.includes(text)),
    [Symbol.asyncDispose]: () => dynasty[Symbol.asyncDispose](),
  };
}

const ways: readonly (readonly [string, () => Broker])[] = [
  ["the store of a service manager", () => underManager(64)],
  ["the record of leases", () => underManager()],
  ["a takeover", ofDynasty],
];

describe.each(ways)("a berth whose file is missing at a start, with %s", (way, make) => {
  /** The berth `a`, whose tenant has stashed something, with a broker that has started without its file. */
  async function world(
    test: (world: {
      broker: Broker;
      tenant: Puppet;
      lease: string;
      port: number;
      path: string;
      text: string;
    }) => Promise<void>,
  ): Promise<void> {
    await using broker = make();
    const port = await freePort();
    const path = join(broker.folder.path, "a.sock");
    const text = `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}", "udp://127.0.0.1:${port}", "unix://${path}"]\n`;
    broker.config("a.toml", text);
    broker.config("b.toml", other);
    await broker.start();
    await using tenant = await Puppet.connect(broker.socket);
    const lease = await tenant.acquire("a");
    await tenant.call("Stash", { lease, name: "state" }, '[os.memfd_create("x")]');
    rmSync(join(broker.folder.path, "config/a.toml"));
    await broker.succeed();
    expect((await list(broker.socket)).map(({ name }) => name)).toEqual(["b"]);
    expect(broker.said()).toContain(
      `berth a: no longer configured; its sockets stay open while pid ${tenant.pid} has them`,
    );
    await test({ broker, tenant, lease, port, path, text });
  }

  const reload = async ({ socket }: Broker): Promise<void> =>
    expect(await ask(socket, "Reload")).toMatchObject({ problems: [] });

  const back = async (broker: Broker, text: string): Promise<void> => {
    writeFileSync(join(broker.folder.path, "config/a.toml"), text);
    await reload(broker);
  };

  const held = (tenant: Puppet): Promise<unknown> => tenant.do("result = [os.fstat(fd).st_ino for fd in b.fds]");

  /** What the tenant gets when it asks the present broker: its lease, and the inodes of its descriptors. */
  async function again(broker: Broker, tenant: Puppet): Promise<unknown[]> {
    await tenant.do(`b = Broker(${JSON.stringify(broker.socket)})`);
    return [await tenant.acquire("a"), await held(tenant)];
  }

  it("has its sockets, its tenant and its stash again when the file is back", () =>
    world(async ({ broker, tenant, lease, port, path, text }) => {
      const before = (await held(tenant)) as number[];
      const { ino } = lstatSync(path);
      // A reload that does not bring it back loses nothing, and says nothing twice.
      broker.config("c.toml", other);
      await reload(broker);
      expect(broker.said().match(/berth a: no longer configured/g)).toHaveLength(1);
      await back(broker, text);
      const [berth] = await list(broker.socket);
      expect(berth).toMatchObject({ name: "a", state: "occupied", lease: { id: lease, pid: tenant.pid } });
      expect(berth).not.toHaveProperty("problems");
      const [same, inodes] = await again(broker, tenant);
      expect(same).toBe(lease);
      expect((inodes as number[]).slice(0, 3)).toEqual(before);
      // The record of leases has no stashes.
      expect(inodes).toHaveLength(way === "the record of leases" ? 3 : 4);
      expect(lstatSync(path).ino).toBe(ino);
      (await connected(port)).destroy();
    }));

  it("is handed on by the next broker, too, which may be the first that sees the file", () =>
    world(async ({ broker, tenant, lease, text }) => {
      const before = (await held(tenant)) as number[];
      await broker.succeed();
      await broker.succeed();
      expect(broker.said()).toContain("berth a: no longer configured");
      writeFileSync(join(broker.folder.path, "config/a.toml"), text);
      await broker.succeed();
      const [same, inodes] = await again(broker, tenant);
      expect(same).toBe(lease);
      expect((inodes as number[]).slice(0, 3)).toEqual(before);
    }));

  it("is handed on while its file has a mistake, too", () =>
    world(async ({ broker, tenant, lease, text }) => {
      const before = (await held(tenant)) as number[];
      writeFileSync(join(broker.folder.path, "config/a.toml"), text.slice(0, 20));
      if (way === "a takeover") rmSync(join(broker.folder.path, "config/a.toml")); // that is strict
      await broker.succeed();
      await broker.succeed();
      await back(broker, text);
      const [same, inodes] = await again(broker, tenant);
      expect(same).toBe(lease);
      expect((inodes as number[]).slice(0, 3)).toEqual(before);
    }));

  it("loses them when its tenant ends: the port is free, and the path is gone", () =>
    world(async ({ broker, tenant, port, path }) => {
      await tenant.kill();
      await broker.says(`berth a: pid ${tenant.pid} no longer has it: it exited`);
      await expect.poll(() => existsSync(path)).toBe(false);
      // A guard process may still look at the socket, and has a copy as long.
      const outcome = (): Promise<string> =>
        connected(port).then(
          (socket) => {
            socket.destroy();
            return "connected";
          },
          (error: Error) => error.message,
        );
      await expect.poll(outcome).toContain("ECONNREFUSED");
      broker.config("a.toml", `[sockets.game]\nlisten = ["tcp://127.0.0.1:${port}"]\n`);
      await reload(broker);
      expect((await list(broker.socket))[0]).toMatchObject({ name: "a", state: "vacant" });
    }));

  it("gives its socket to a berth that wants the same one", () =>
    world(async ({ broker, text }) => {
      broker.config("renamed.toml", text);
      await reload(broker);
      const [, renamed] = await list(broker.socket);
      expect(renamed).toMatchObject({ name: "renamed", descriptors: [{}, {}, {}] });
      expect(renamed).not.toHaveProperty("problems");
    }));
});
