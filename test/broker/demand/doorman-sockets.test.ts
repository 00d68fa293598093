/** The copies of sockets that a doorman has: they keep no address in use, and a doorman that hangs holds nobody up. */
import { once } from "node:events";
import { connect } from "node:net";
import { constants } from "node:os";
import { describe, expect, it, vi } from "vitest";
import { FdHandle } from "../../../src/fd.ts";
import { native as sys } from "../../../src/native.ts";
import { encodeSockaddr } from "../../../src/net/address.ts";
import {
  allRead,
  ask,
  asleep,
  berth,
  client,
  getstatus,
  join3,
  PATIENCE,
  ready,
  send,
  status,
  talk,
} from "../../support/doorman/doors.ts";
import { handshake, PING, REQUEST } from "../../support/doorman/streams.ts";
import { leaksNothing, openFds } from "../../support/fds.ts";
import { isRoot } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";
import { isThere, startingBroker } from "../../support/starting-broker.ts";
import { list } from "../../support/succession.ts";

leaksNothing("soon");

const AF_INET = 2;
const SOCK_STREAM = 1;

const problems = ({ broker }: Awaited<ReturnType<typeof startingBroker>>): unknown[] =>
  broker.berths.flatMap((one) => one.problems ?? []);

/** The same two addresses, one each way, so that each is closed and opened again. */
const files = (first: number, second: number): Record<string, string> => ({
  "config/arena.toml": berth([`udp://127.0.0.1:${first}`], asleep),
  "config/lake.toml": berth([`udp://127.0.0.1:${second}`], asleep),
});

describe("the addresses that a doorman watches", { timeout: 120_000 }, () => {
  it.each(["in slices", "at once"])("are free for other berths in a reload %s", async (how) => {
    const [one, other] = [await freePort(), await freePort()];
    await using broker = await startingBroker({
      "arena.toml": berth([`udp://127.0.0.1:${one}`], asleep),
      "lake.toml": berth([`udp://127.0.0.1:${other}`], asleep),
    });
    let pid = await ready();
    for (let round = 1; round <= 10; round++) {
      expect(await ask(one, getstatus)).toContain("Frozen Lake");
      broker.folder.write(round % 2 === 1 ? files(other, one) : files(one, other));
      if (how === "in slices") await broker.broker.reloadInSlices();
      else broker.broker.reload();
      expect(problems(broker)).toEqual([]);
      const now = await ready();
      // Only without time to wait for it must it be ended.
      expect(now === pid).toBe(how === "in slices");
      pid = now;
    }
    expect(await ask(other, getstatus)).toContain("Frozen Lake");
    expect(broker.log.filter(({ event }) => event === "doorman")).toEqual([]);
    expect(broker.watcher.names()).not.toContain("starting");
  });

  it("are free for the next broker once this one is closed", async () => {
    const port = await freePort();
    for (let round = 0; round < 5; round++) {
      await using broker = await startingBroker({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
      expect(problems(broker)).toEqual([]);
      expect(await ask(port, getstatus)).toContain("Frozen Lake");
    }
  });

  it("are free after a while if it hangs; it is killed then, and others are served meanwhile", async () => {
    const [one, other] = [await freePort(), await freePort()];
    await using broker = await startingBroker({
      "arena.toml": berth([`udp://127.0.0.1:${one}`], asleep),
      "lake.toml": berth([`udp://127.0.0.1:${other}`], asleep),
    });
    expect(await ask(one, getstatus)).toContain("Frozen Lake");
    const pid = await ready();
    // What it leaves unread wakes a server once it is killed.
    await allRead(one);
    process.kill(pid, "SIGSTOP");
    broker.folder.write(files(other, one));
    let isOver = false;
    const reloaded = broker.broker.reloadInSlices().then(() => {
      isOver = true;
    });
    await vi.waitFor(() => expect(status(pid)).toMatch(/^State:\tT/m), PATIENCE);
    expect((await list(broker.socket)).length).toBe(2);
    expect(isOver).toBe(false);
    await reloaded;
    expect(problems(broker)).toEqual([]);
    expect(isThere(pid)).toBe(false);
    expect(broker.log.filter(({ event }) => event === "doorman")).toMatchObject([
      { reason: "it did not leave a berth in time" },
    ]);
    // Any packet wakes a server until there is another doorman.
    await vi.waitFor(async () => expect(await ready()).not.toBe(pid), PATIENCE);
    expect(await ask(one, getstatus)).toContain("Frozen Lake");
  });

  it("are the server's alone soon after it has started, and the doorman's again when it sleeps", async () => {
    const [one, other] = [await freePort(), await freePort()];
    await using broker = await startingBroker({
      "arena.toml": berth([`udp://127.0.0.1:${one}`], asleep),
      "lake.toml": berth([`udp://127.0.0.1:${other}`], asleep),
    });
    expect(await ask(one, getstatus)).toContain("Frozen Lake");
    const pid = await ready();
    // Only root may look into a process that cannot be dumped.
    const copies = (): number => openFds(pid).filter((fd) => fd.includes("socket:")).length;
    if (isRoot) await vi.waitFor(() => expect(copies()).toBe(3), PATIENCE);
    const udp = await client(one);
    const echo = once(udp, "message");
    await send(udp, join3);
    await broker.watcher.count("acquired", 1);
    // The server has read what woke it, so nothing wakes the next one.
    await echo;
    udp.close();
    if (isRoot) await vi.waitFor(() => expect(copies()).toBe(2), PATIENCE);
    const [lease] = broker.broker.berths.flatMap((each) => each.lease ?? []);
    process.kill(lease?.pid ?? expect.unreachable(), "SIGKILL");
    await broker.watcher.count("released", 1);
    if (isRoot) await vi.waitFor(() => expect(copies()).toBe(3), PATIENCE);
    expect(await ready()).toBe(pid);
  });
});

it("a doorman answers at the new listener where a process of an earlier server has spoilt the old one", async () => {
  const port = await freePort();
  const more = 'asleep = "minecraft"\nasleep-as = { name = "Frozen Lake", slots = 12 }\n';
  await using broker = await startingBroker({ "arena.toml": berth([`tcp://127.0.0.1:${port}`], more) });
  const query = Buffer.concat([handshake(1), REQUEST, PING]);
  await using server = await Puppet.connect(broker.socket);
  const lease = await server.acquire("arena");
  await server.do("s = held(b.fds[0])");
  await server.call("Release", { lease });
  expect(await talk(port, query)).toContain("Frozen Lake");
  const repairs = (): string =>
    broker.log.flatMap(({ event, message }) => (event === "repaired" ? message : [])).join();
  expect(repairs()).toBe("");
  // SO_LOCK_FILTER (socket(7)): only a new socket helps.
  await server.do("s.setsockopt(socket.SOL_SOCKET, 44, 1); s.shutdown(2)");
  await vi.waitFor(() => expect(repairs()).toMatch(/it was opened again$/), PATIENCE);
  expect(await talk(port, query)).toContain("Frozen Lake");
  expect(broker.watcher.names()).not.toContain("starting");
});

it("a connection that somebody else has accepted first does not make a doorman wait", async () => {
  const port = await freePort();
  using listener = FdHandle.adopt(sys.socket(AF_INET, SOCK_STREAM, 0), sys);
  sys.bind(listener.fd, encodeSockaddr({ family: "ipv4", host: "127.0.0.1", port }));
  sys.listen(listener.fd, 5);
  sys.setfl(listener.fd, 0); // a blocking one
  const flags = sys.getfl(listener.fd);
  expect(sys.acceptWithin(listener.fd, 20)).toBe(-constants.errno.EAGAIN);
  const tcp = connect(port, "127.0.0.1");
  await once(tcp, "connect");
  using accepted = FdHandle.adopt(sys.acceptWithin(listener.fd, 10_000), sys);
  expect(accepted.fd).toBeGreaterThan(0);
  expect(sys.getfl(listener.fd)).toBe(flags);
  tcp.destroy();
});
