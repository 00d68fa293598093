/**
 * Interfaces that go and come back, in network namespaces of the test's own: players are at the other end of a cable.
 */
import { describe, expect, it } from "vitest";
import { type BrokerProcess, type Logged, spawnBroker } from "../../support/broker.ts";
import { FakeManager } from "../../support/fake-manager.ts";
import { needs, pathOf } from "../../support/needs.ts";
import { NetNamespace } from "../../support/net-namespace.ts";
import { Puppet } from "../../support/puppet.ts";

const PORT = 7000;
const FOLLOWS = "follows its interface, which went and came back";

/** A host, and players at the other end of its interface vpn0. */
async function cabled(): Promise<{ host: NetNamespace; players: NetNamespace } & AsyncDisposable> {
  const host = await NetNamespace.make();
  const players = await NetNamespace.make();
  host.plug("vpn0", players);
  const dispose = async (): Promise<void> => {
    await host[Symbol.asyncDispose]();
    await players[Symbol.asyncDispose]();
  };
  return { host, players, [Symbol.asyncDispose]: dispose };
}

function berth(listen: string, more = ""): Record<string, string> {
  return {
    "arena.toml": `[sockets.game]\nlisten = ["${listen.replace("%", "%%")}"]\n${more}\n[tenant]\nusers = ["nobody"]\n`,
  };
}

/** A player says hello to one address, over UDP, or by connecting. */
function greet(players: NetNamespace, kind: "udp" | "tcp", address: string): void {
  const code =
    "import socket, sys; f, t, _, _, a = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=int(sys.argv[3]))[0];" +
    "s = socket.socket(f, t); s.settimeout(30); s.connect(a); s.send(b'hello')";
  players.run("python3", "-c", code, address, String(PORT), kind === "udp" ? "2" : "1");
}

/** What the tenant hears of that. */
async function hears(tenant: Puppet, kind: "udp" | "tcp"): Promise<unknown> {
  const receive = kind === "udp" ? "s.recv(9)" : "s.accept()[0].recv(9)";
  return await tenant.do(`s = held(b.fds[-1]); s.settimeout(30); result = ${receive}.decode()`);
}

const told = ({ event, message }: Logged): boolean => event === "repaired" && message.includes(FOLLOWS);

const isGone = ({ event }: Logged): boolean => event === "interface-gone";

async function comesBack(
  { host, players }: { host: NetNamespace; players: NetNamespace },
  broker: Pick<BrokerProcess, "log">,
): Promise<void> {
  const before = broker.log.filter(isGone).length;
  host.unplug("vpn0");
  await expect.poll(() => broker.log.filter(isGone).length).toBe(before + 1);
  host.plug("vpn0", players);
}

describe("after its interface went and came back, a socket", needs("root", "ip", "unshare", "nsenter"), () => {
  it.each([
    ["udp with a device", "udp", `udp://0.0.0.0:${PORT}`, 'device = "vpn0"', "10.9.0.1"],
    ["tcp with a device", "tcp", `tcp://0.0.0.0:${PORT}`, 'device = "vpn0"', "10.9.0.1"],
    ["udp on a link-local address", "udp", `udp://[fe80::1%vpn0]:${PORT}`, "", "fe80::1%vpn0"],
    ["tcp on a link-local address", "tcp", `tcp://[fe80::1%vpn0]:${PORT}`, "", "fe80::1%vpn0"],
  ] as const)(
    "of a tenant is bound to it again, and is the same socket: %s",
    async (_, kind, listen, more, address) => {
      await using net = await cabled();
      await using broker = await spawnBroker(berth(listen, more), [], net.host.wrap);
      await using tenant = await Puppet.connect(broker.socket, { uid: 65534, gid: 65534 });
      const lease = await tenant.acquire("arena");
      greet(net.players, kind, address);
      expect(await hears(tenant, kind)).toBe("hello");
      for (const _time of ["once", "twice"]) {
        const before = broker.log.filter(told).length;
        await comesBack(net, broker);
        await expect.poll(() => broker.log.filter(told).length).toBe(before + 1);
        greet(net.players, kind, address);
        expect(await hears(tenant, kind)).toBe("hello");
      }
      await tenant.call("Release", { lease });
      await tenant.acquire("arena");
      const others = broker.log.filter((line) => line["event"] === "repaired" && !told(line));
      expect(others.map(({ message }) => message)).toEqual([]);
      greet(net.players, kind, address);
      expect(await hears(tenant, kind)).toBe("hello");
    },
  );

  it("of a vacant berth is bound to it again before anybody gets it", async () => {
    await using net = await cabled();
    await using broker = await spawnBroker(berth(`udp://0.0.0.0:${PORT}`, 'device = "vpn0"'), [], net.host.wrap);
    await comesBack(net, broker);
    await broker.logged(told);
    greet(net.players, "udp", "10.9.0.1");
    await using tenant = await Puppet.connect(broker.socket);
    await tenant.acquire("arena");
    expect(await hears(tenant, "udp")).toBe("hello");
  });

  it("from the store is bound to it again, if that was while no broker ran", async () => {
    await using net = await cabled();
    await using manager = new FakeManager({ wrap: net.host.wrap });
    const files = berth(`udp://[fe80::1%vpn0]:${PORT}`);
    manager.config("arena.toml", files["arena.toml"] ?? "");
    await manager.start();
    await using tenant = await Puppet.connect(manager.socket, { uid: 65534, gid: 65534 });
    await tenant.acquire("arena");
    await manager.end();
    net.host.unplug("vpn0");
    net.host.plug("vpn0", net.players);
    await manager.start();
    await expect.poll(() => manager.log.some(told)).toBe(true);
    greet(net.players, "udp", "fe80::1%vpn0");
    expect(await hears(tenant, "udp")).toBe("hello");
  });

  it("is opened again by a broker that may not bind it again, once nobody has it", needs("setpriv"), async () => {
    await using net = await cabled();
    const weak = [...net.host.wrap, pathOf("setpriv"), "--bounding-set=-net_raw"];
    await using broker = await spawnBroker(berth(`udp://0.0.0.0:${PORT}`, 'device = "vpn0"'), [], weak);
    const tenant = await Puppet.connect(broker.socket, { uid: 65534, gid: 65534 });
    await tenant.acquire("arena");
    await comesBack(net, broker);
    const line = await broker.logged(({ event }) => event === "repaired");
    expect(line.message).toMatch(/cannot follow its interface.*EPERM.*give the broker CAP_NET_RAW, or restart/);
    await tenant.kill();
    await broker.logged(({ message }) => message.includes("opened again"));
    await using next = await Puppet.connect(broker.socket);
    await next.acquire("arena");
    greet(net.players, "udp", "10.9.0.1");
    expect(await hears(next, "udp")).toBe("hello");
  });
});

it(
  "of another interface that its server has chosen is left there",
  needs("root", "ip", "unshare", "nsenter"),
  async () => {
    await using net = await cabled();
    await using broker = await spawnBroker(berth(`udp://0.0.0.0:${PORT}`, 'device = "vpn0"'), [], net.host.wrap);
    await using tenant = await Puppet.connect(broker.socket);
    await tenant.acquire("arena");
    const lo = await tenant.do("s = held(b.fds[-1]); s.setsockopt(1, 62, 1); result = s.getsockopt(1, 62)");
    await comesBack(net, broker);
    net.host.unplug("vpn0");
    // A second berth is told of it in between, so the broker has looked.
    await expect.poll(() => broker.log.filter(({ event }) => event === "interface-gone").length).toBe(2);
    expect(await tenant.do("result = s.getsockopt(1, 62)")).toBe(lo);
  },
);
