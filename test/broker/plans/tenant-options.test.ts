import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type BrokerProcess, isReady, launchBroker, startBroker, TestFolder } from "../../support/broker.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { fixtures, Puppet } from "../../support/puppet.ts";

const nobody = { uid: 65534, gid: 65534 };
/** Python for a puppet: `attack(fd)`, which sets all that can be set back, and `options(fd)`, which reads all. */
const helpers = readFileSync(join(fixtures, "socket-options.py"), "utf8");

const kinds = [
  ["tcp://127.0.0.1:PORT", "tcp://127.0.0.1:OTHER"],
  ["udp://127.0.0.1:PORT", "udp://127.0.0.1:OTHER"],
  ["tcp://[::1]:PORT", "tcp://[::1]:OTHER"],
  ["udp://[::1]:PORT", "udp://[::1]:OTHER"],
  ["tcp://*:PORT", "tcp://*:OTHER"],
  ["udp://*:PORT", "udp://*:OTHER"],
  ["unix://@berthd-PORT", "unix://@berthd-OTHER"],
  ["unix-dgram://@berthd-PORT", "unix-dgram://@berthd-OTHER"],
  ["unix-seqpacket://@berthd-PORT", "unix-seqpacket://@berthd-OTHER"],
] as const;

/** A berth, and a twin of it that no tenant has had. */
async function twins(listen: string, twin: string, more = ""): Promise<Record<string, string>> {
  const [port, other] = [await freePort(), await freePort()];
  const fill = (text: string): string => text.replace("PORT", String(port)).replace("OTHER", String(other));
  const tenant = `${more}\n[tenant]\nusers = ["nobody"]`;
  return {
    "arena.toml": `[sockets.game]\nlisten = ["${fill(listen)}"]\n${tenant}`,
    "twin.toml": `[sockets.game]\nlisten = ["${fill(twin)}"]\n${tenant}`,
  };
}

async function tenant(socket: string): Promise<Puppet> {
  const puppet = await Puppet.connect(socket, nobody);
  await puppet.do(helpers);
  return puppet;
}

/** Every option that the kernel tells, by level and number, of the berth and of its twin. */
async function compare(socket: string): Promise<[unknown, unknown]> {
  await using next = await tenant(socket);
  await next.acquire("arena");
  await next.acquire("twin");
  return [await next.do("result = options(b.fds[0])"), await next.do("result = options(b.fds[1])")];
}

const repairs = (log: readonly { readonly event?: unknown; readonly message: string }[]): string[] =>
  log.filter(({ event }) => event === "repaired").map(({ message }) => message);

describe("every lease begins with a socket in its configured state", () => {
  it.each(kinds)(
    "%s: each option that an unprivileged tenant can set is set back, and logged (needs root)",
    needs("root"),
    async (listen, twin) => {
      await using test = await startBroker(await twins(listen, twin));
      await using attacker = await tenant(test.socket);
      // The guard then knows what a socket of this kind looks like when all is well.
      await attacker.call("Release", { lease: await attacker.acquire("arena") });
      const lease = await attacker.acquire("arena");
      const before = await attacker.do("result = os.fstat(b.fds[0]).st_ino");
      const changed = await attacker.do("result = attack(b.fds[0])");
      expect(changed).toBeGreaterThan(20);
      await attacker.call("Release", { lease });
      const [now, wanted] = await compare(test.socket);
      expect(now).toEqual(wanted);
      expect(repairs(test.log)).toEqual([expect.stringMatching(/ and \d+ more changed by the server; set back/)]);
      await using last = await tenant(test.socket);
      await last.acquire("arena");
      expect(await last.do("result = os.fstat(b.fds[0]).st_ino")).toBe(before);
    },
  );

  it("options of the berth's own are set back to what it says", needs("root"), async () => {
    const options = `receive-buffer = "64K"\nsend-buffer = "16M"\ntos = 16\npriority = 4\nmark = 7\ndevice = "lo"`;
    await using test = await startBroker(await twins("udp://127.0.0.1:PORT", "udp://127.0.0.1:OTHER", options));
    await using attacker = await tenant(test.socket);
    const lease = await attacker.acquire("arena");
    await attacker.do("attack(b.fds[0])");
    await attacker.call("Release", { lease });
    const [now, wanted] = await compare(test.socket);
    expect(now).toEqual(wanted);
    expect(wanted).toMatchObject({ "1/8": "00000200", "1/12": "04000000", "1/36": "07000000", "0/1": "10000000" });
  });

  it("a lease that changed nothing needs no repair", needs("root"), async () => {
    for (const [listen, twin] of kinds) {
      await using test = await startBroker(await twins(listen, twin));
      await using puppet = await tenant(test.socket);
      await puppet.call("Release", { lease: await puppet.acquire("arena") });
      await puppet.acquire("arena"); // it waits until the sockets are right
      expect(repairs(test.log)).toEqual([]);
    }
  });

  it.each([
    ["a locked filter", "udp://127.0.0.1:PORT", "s.setsockopt(1, 44, 1)", "SO_LOCK_FILTER"],
    ["an MD5 key", "tcp://127.0.0.1:PORT", "s.setsockopt(6, 14, md5)", "an MD5 key"],
    ["a clamped window", "tcp://127.0.0.1:PORT", "s.setsockopt(6, 10, 1)", "TCP_WINDOW_CLAMP"],
    ["a key of fast open", "tcp://127.0.0.1:PORT", "s.setsockopt(6, 33, b'k' * 16)", "TCP_FASTOPEN_KEY"],
    ["a multicast group", "udp://127.0.0.1:PORT", "s.setsockopt(0, 35, group)", "a multicast group"],
    ["one of IPv6", "udp://[::1]:PORT", "s.setsockopt(41, 20, group6)", "a multicast group"],
    ["IPv6 headers", "udp://[::1]:PORT", "s.setsockopt(41, 6, 1)", "group of the server's"],
    ["another family", "udp://*:PORT", "s.connect(('::ffff:127.0.0.1', 9)); s.setsockopt(41, 1, 2)", "unusable"],
  ])(
    "a socket with %s, which no call can take from it, is opened again (needs root)",
    needs("root"),
    async (...row) => {
      const [, listen, harm, words] = row;
      const files = await twins(listen, listen.replace("PORT", "OTHER"));
      await using test = await startBroker(files);
      await using attacker = await tenant(test.socket);
      await attacker.call("Release", { lease: await attacker.acquire("arena") });
      const lease = await attacker.acquire("arena");
      const before = await attacker.do("s = held(b.fds[0]); result = os.fstat(s.fileno()).st_ino");
      await attacker.do(harm);
      // Otherwise it would still have the address.
      await attacker.do("s.close(); [os.close(fd) for fd in b.fds]");
      await attacker.call("Release", { lease });
      const [now, wanted] = await compare(test.socket);
      expect(repairs(test.log).join()).toMatch(new RegExp(`${words}.*; it was opened again`));
      expect(now).toEqual(wanted);
      await using next = await tenant(test.socket);
      await next.acquire("arena");
      expect(await next.do("result = os.fstat(b.fds[0]).st_ino")).not.toBe(before);
    },
  );

  it("what MSG_MORE kept back is not sent with the next tenant's datagram", async () => {
    const port = await freePort();
    await using test = await startBroker({ "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:${port}"]` });
    await using attacker = await Puppet.connect(test.socket);
    await using player = await Puppet.connect(test.socket);
    await player.do("s = socket.socket(2, 2); s.bind(('127.0.0.1', 0)); s.settimeout(30)");
    const peer = JSON.stringify(await player.do("result = s.getsockname()"))
      .replace("[", "(")
      .replace("]", ")");
    const lease = await attacker.acquire("arena");
    await attacker.do(`held(b.fds[0]).sendto(b'poison', socket.MSG_MORE, ${peer})`);
    await attacker.call("Release", { lease });
    await using next = await Puppet.connect(test.socket);
    await next.acquire("arena");
    await next.do(`held(b.fds[0]).sendto(b'hello', ${peer})`);
    const got = await player.do("result = [s.recv(99).decode(), s.recv(99).decode()]");
    expect(got).toEqual(["poison", "hello"]);
  });

  it("a broker that starts sets back what a tenant left that died meanwhile (needs root)", needs("root"), async () => {
    using folder = new TestFolder();
    const files = await twins("udp://127.0.0.1:PORT", "udp://127.0.0.1:OTHER");
    folder.write(Object.fromEntries(Object.entries(files).map(([name, text]) => [join("config", name), text])));
    let first: BrokerProcess | undefined = launchBroker(folder);
    await first.logged(isReady);
    await using keeper = await tenant(first.socket);
    await keeper.acquire("arena");
    await keeper.do("attack(b.fds[0])");
    await first[Symbol.asyncDispose]();
    first = undefined;
    // It lives while the next broker starts, and its lease ends there.
    await using second = launchBroker(folder);
    await second.logged(isReady);
    await keeper.kill();
    await second.logged(({ event }) => event === "released");
    const [now, wanted] = await compare(second.socket);
    expect(now).toEqual(wanted);
    expect(repairs(second.log).join()).toContain("changed by the server; set back as configured");
  });
});
