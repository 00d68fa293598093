/** A tenant has the kernel hold the lock of its berth's socket: it attaches a filter whose text never comes. */
import { createSocket } from "node:dgram";
import { readdirSync, readlinkSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { inodesAt } from "../bind/harness.ts";
import { Attacker, call } from "../support/attacks/attacker.ts";
import { Siege, TENANT } from "../support/attacks/siege.ts";
import { StuckFuse } from "../support/attacks/stuck-fuse.ts";
import { needsGroups } from "../support/bpf.ts";
import { lastJoins } from "../support/doorman/last-joins.ts";
import { call as callGame, drain } from "../support/drain-calls.ts";
import { needs } from "../support/needs.ts";
import { freePort } from "../support/ports.ts";

vi.setConfig({ testTimeout: 60_000 });

describe.each(["uffd", "page"])("a tenant holds the lock of its berth's socket (%s)", needs("root"), (way) => {
  async function hold(attacker: Attacker, fuse: StuckFuse): Promise<void> {
    await attacker.do(`hold received ${way} ${fuse.file}`);
    if (way === "page") await fuse.stuck("READ");
  }

  it("and releases the berth", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    await hold(attacker, fuse);
    await attacker.do(`send c - ${call("Release", { lease: "@lease" })}`);
    await siege.nobodyNoticed();
    await siege.canBeKilledAndStarted();
  });

  it("and root takes the berth from it", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(TENANT);
    await using other = new Attacker(0);
    await using fuse = await StuckFuse.mount(["READ"]);
    await hold(attacker, fuse);
    await other.do(`connect c ${siege.socket}`);
    await other.do(`send c - ${call("Acquire", { berth: "prey", replace: "must" })}`);
    await siege.nobodyNoticed();
  });

  it("while the broker is killed, and the next one looks for living tenants", async () => {
    await using siege = await Siege.begin();
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    await hold(attacker, fuse);
    await siege.canBeKilledAndStarted();
  });
});

describe("a tenant holds the lock of its socket while its berth turns players away", needsGroups(), () => {
  const { bytes, told } = lastJoins["Quake III"] ?? expect.unreachable();

  /** Sends a join again and again, and keeps the answers. */
  class Newcomer implements Disposable {
    readonly answers: string[] = [];
    readonly #socket = createSocket("udp4");
    readonly #again: NodeJS.Timeout;

    constructor(port: number) {
      this.#socket.on("message", (answer) => this.answers.push(told(answer)));
      this.#again = setInterval(() => this.#socket.send(bytes, port, "127.0.0.1"), 100);
    }

    [Symbol.dispose](): void {
      clearInterval(this.#again);
      this.#socket.close();
    }
  }

  it.each(["held", "held, with a datagram that is put together"])("%s", async (how) => {
    const port = await freePort();
    const server = `[server]\nuser = "nobody"\ndrain = "refuse"\nquery = { type = "quake3" }`;
    const game = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[tenant]\nusers = [${TENANT}]\n${server}`;
    await using siege = await Siege.begin({ "game.toml": game });
    await using attacker = await siege.attacker(TENANT);
    await using fuse = await StuckFuse.mount(["READ"]);
    expect(await attacker.call("c", "Acquire", { berth: "game" })).toContain('"lease":');
    if (how !== "held") await attacker.do(`cork received ${await freePort()}`);
    await attacker.do(`hold received page ${fuse.file}`);
    await fuse.stuck("READ");
    using newcomer = new Newcomer(port);
    expect(await drain(siege.socket)).toMatchObject({ joins: "refuse" });
    const text = "This server restarts once nobody plays";
    // Otherwise the doorman waits for the lock, and with it this user's other servers.
    if (how === "held") await expect.poll(() => newcomer.answers[0], { timeout: 30_000 }).toBe(text);
    await callGame(siege.socket, "CancelDrain");
    expect(await drain(siege.socket)).toMatchObject({ joins: "refuse" });
    await siege.nobodyNoticed();
    await siege.canBeKilledAndStarted();
  });
});

describe("under bind delivery", needs("root"), () => {
  const STUCK = "a bind of its server failed: the kernel did not answer";

  it("a server locks the socket that it binds", async () => {
    await using siege = await Siege.begin();
    await using server = Attacker.served(siege.socket, "prey");
    await using fuse = await StuckFuse.mount(["READ"]);
    await server.do("make s udp");
    await server.do(`hold s page ${fuse.file}`);
    await fuse.stuck("READ");
    await server.do("bind s 127.0.0.1 0");
    await siege.nobodyNoticed(() => siege.hasLogged(STUCK));
    await siege.canBeKilledAndStarted();
  });

  it("somebody locks a socket whose server has set something on its own, which is to be set there", async () => {
    const port = await freePort();
    const target = `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]\n[server]\nuser = "nobody"\ndeliver = ["bind"]`;
    await using siege = await Siege.begin({ "target.toml": target });
    await using other = new Attacker(0);
    await using server = Attacker.served(siege.socket, "target");
    await using fuse = await StuckFuse.mount(["READ"]);
    const held = inodesAt("udp", port)[0];
    const { pid } = siege.broker;
    const fd = readdirSync(`/proc/${pid}/fd`).find((name) => linkOf(pid, name) === `socket:[${held}]`);
    await other.do(`take held ${pid} ${fd}`);
    await server.do("make s udp");
    await server.do("buffer s 5000");
    await other.do(`hold held page ${fuse.file}`);
    await fuse.stuck("READ");
    await server.do(`bind s 127.0.0.1 ${port}`);
    await siege.nobodyNoticed(() => siege.hasLogged(STUCK));
    expect(await server.file("s")).not.toBe(`socket:[${held}]`);
    await siege.canBeKilledAndStarted();
  });

  it("a server locks its berth's socket, and binds another that shares the address", async () => {
    await using siege = await Siege.begin();
    await using server = Attacker.served(siege.socket, "prey");
    await using fuse = await StuckFuse.mount(["READ"]);
    await server.do("make s udp");
    await server.do("share s");
    const itsOwn = await server.file("s");
    await server.do("bind s 127.0.0.1 0");
    // The broker's log tells of it before the socket is there.
    await expect.poll(() => server.file("s")).not.toBe(itsOwn);
    await server.do(`hold s page ${fuse.file}`);
    await fuse.stuck("READ");
    await server.do("make t udp");
    // So that the broker sets the held socket up to share its address.
    await server.do("share t");
    await server.do("bind t 127.0.0.1 0");
    await siege.nobodyNoticed(() => siege.hasLogged(STUCK));
  });

  it("a server binds an address in memory that never comes", async () => {
    await using siege = await Siege.begin();
    await using server = Attacker.served(siege.socket, "prey");
    await using fuse = await StuckFuse.mount(["READ"]);
    await server.do("make s udp");
    await server.do(`bindpage s ${fuse.file}`);
    await fuse.stuck("READ");
    await siege.nobodyNoticed();
    await siege.canBeKilledAndStarted();
  });

  it("a server binds a file that never answers that it is closed", async () => {
    await using siege = await Siege.begin();
    await using server = Attacker.served(siege.socket, "prey");
    await using fuse = await StuckFuse.mount(["FLUSH"]);
    await server.do(`make s open ${fuse.file}`);
    await server.do("bind s 127.0.0.1 0");
    await siege.nobodyNoticed();
    await siege.canBeKilledAndStarted();
  });

  it("a server locks an epoll that has the socket that it binds", async () => {
    await using siege = await Siege.begin();
    await using server = Attacker.served(siege.socket, "prey");
    await using fuse = await StuckFuse.mount(["READ"]);
    await server.do("make s udp");
    await server.do("epoll e s");
    await server.do(`stick e ${fuse.file}`);
    await fuse.stuck("READ");
    await server.do("bind s 127.0.0.1 0");
    await siege.nobodyNoticed(() => siege.hasLogged("may hear nothing on the socket that it bound"));
    await siege.canBeKilledAndStarted();
  });

  it("a server locks such an epoll, and closes its own number of it", async () => {
    await using siege = await Siege.begin();
    await using server = Attacker.served(siege.socket, "prey");
    await using fuse = await StuckFuse.mount(["READ"]);
    await server.do("make s udp");
    await server.do("epoll e s");
    await server.do(`stick e ${fuse.file}`);
    await fuse.stuck("READ");
    await server.do("close e");
    await server.do("bind s 127.0.0.1 0");
    // Whoever closes the server's own socket for the last time waits for the epoll.
    await siege.nobodyNoticed(() => siege.hasLogged("made a guard process wait too long"));
    await siege.canBeKilledAndStarted();
  });
});

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return ""; // it is closed
  }
}
