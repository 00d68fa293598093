/** A socket of a vacant berth that a process of an earlier server shuts down: nobody has come for it. */
import { createSocket } from "node:dgram";
import { renameSync } from "node:fs";
import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { ask, asleep, berth, getstatus } from "../../support/doorman/doors.ts";
import { leaksNothing } from "../../support/fds.ts";
import { freePort } from "../../support/ports.ts";
import { Puppet } from "../../support/puppet.ts";
import { type StartingBroker, selfServer, startingBroker, user } from "../../support/starting-broker.ts";

leaksNothing("soon");

const PATIENCE = { timeout: 30_000 };
const SHUT_DOWN = "\ntry: s.shutdown(2)\nexcept OSError: pass";

interface Left extends AsyncDisposable {
  readonly broker: StartingBroker;
  /** Has released the berth, and has its socket as `s`. */
  readonly former: Puppet;
}

async function left(listen: string, more = ""): Promise<Left> {
  return await leftOf(
    `[sockets.game]\nlisten = ["${listen}"]\n[server]\n${user}${selfServer}start = "on-demand"\n${more}`,
  );
}

async function leftOf(file: string): Promise<Left> {
  const broker = await startingBroker({ "arena.toml": file }, { firstDelay: 20, longestDelay: 50 });
  const former = await Puppet.connect(broker.socket);
  const lease = await former.acquire("arena");
  // SO_KEEPALIVE (socket(7)), so that the repair says when it is done: then the socket is watched.
  await former.do("s = held(b.fds[0]); s.setsockopt(1, 9, 1)");
  await former.call("Release", { lease });
  await broker.watcher.count("released", 1);
  await broker.watcher.count("repaired", 1);
  const dispose = async (): Promise<void> => {
    await former.kill();
    await broker[Symbol.asyncDispose]();
  };
  return { broker, former, [Symbol.asyncDispose]: dispose };
}

function said({ log }: StartingBroker, what: RegExp): string[] {
  return log.map(({ message }) => message).filter((message) => what.test(message));
}

function starts({ watcher }: StartingBroker): number {
  return watcher.names().filter((name) => name === "starting").length;
}

describe("a listener that is shut down starts no server, and listens again:", () => {
  it.each([
    ["TCP", "tcp://127.0.0.1:PORT"],
    ["UNIX", "unix:///tmp/berthd-shut-down-PORT.sock"],
  ])("%s", async (_, listen) => {
    const port = await freePort();
    await using test = await left(listen.replace("PORT", String(port)));
    const { broker, former } = test;
    const to = listen.startsWith("tcp") ? { port } : { path: `/tmp/berthd-shut-down-${port}.sock` };
    await former.do(SHUT_DOWN);
    await expect
      .poll(
        () => said(broker, /(shut down|left unusable) by the server; it (listens|was opened) again/).length,
        PATIENCE,
      )
      .toBe(1);
    expect(starts(broker)).toBe(0);
    let text = "";
    for await (const part of connect(to)) text += String(part);
    expect(JSON.parse(text)).toMatchObject({ pid: broker.broker.berths[0]?.lease?.pid });
  });
});

describe("one that another process keeps from being opened again starts no server, and is shown as a problem:", () => {
  it.each([
    ["an abstract UNIX listener", "unix://@berthd-shut-down-PORT", ""],
    ["a UDP socket", "udp://127.0.0.1:PORT", ""],
    ["a UDP socket that a doorman watches", "udp://127.0.0.1:PORT", asleep],
    ["an abstract UNIX socket of datagrams", "unix-dgram://@berthd-shut-down-PORT", ""],
  ])("%s", async (_, listen, more) => {
    const port = await freePort();
    await using test = await left(listen.replace("PORT", String(port)), more);
    const { broker, former } = test;
    await former.do(SHUT_DOWN);
    await expect.poll(() => said(broker, /cannot be opened again: .*EADDRINUSE/).length, PATIENCE).toBe(1);
    const problems = [{ message: expect.stringMatching(/^berth arena: socket game .*cannot be opened again/) }];
    expect(broker.broker.berths[0]).toMatchObject({ state: "vacant", problems });
    await former.kill();
    await expect.poll(() => said(broker, /it was opened again/).length, PATIENCE).toBe(1);
    expect(broker.broker.berths[0]).not.toHaveProperty("problems");
    // However often it was tried.
    expect(said(broker, /cannot be opened again/).length).toBe(1);
    expect(starts(broker)).toBe(0);
    if (!listen.startsWith("udp")) return;
    const client = createSocket("udp4");
    client.send(Buffer.concat([Buffer.alloc(4, 0xff), Buffer.from("getchallenge")]), port, "127.0.0.1");
    await broker.watcher.count("acquired", 2);
    client.close();
  });
});

it("one that is lost keeps no doorman from answering at the other sockets of its berth", async () => {
  const port = await freePort();
  const listen = [`unix://@berthd-shut-down-${port}`, `udp://127.0.0.1:${port}`];
  await using test = await leftOf(berth(listen, `${asleep}wake = "any"\n`));
  await test.former.do(SHUT_DOWN);
  await expect.poll(() => said(test.broker, /cannot be opened again: .*EADDRINUSE/).length, PATIENCE).toBe(1);
  expect(await ask(port, getstatus)).toContain("Frozen Lake");
  expect(starts(test.broker)).toBe(0);
});

it("one that is lost is tried again also for a berth that gets it by a reload", async () => {
  const name = `@berthd-shut-down-${await freePort()}`;
  await using test = await left(`unix://${name}`);
  const { broker, former } = test;
  await former.do(SHUT_DOWN);
  await expect.poll(() => said(broker, /cannot be opened again: .*EADDRINUSE/).length, PATIENCE).toBe(1);
  renameSync(`${broker.folder.path}/config/arena.toml`, `${broker.folder.path}/config/other.toml`);
  broker.broker.reload();
  expect(broker.broker.berths[0]).toMatchObject({ name: "other", problems: [expect.anything()] });
  await former.kill();
  await expect.poll(() => said(broker, /berth other: .*it was opened again/).length, PATIENCE).toBe(1);
  expect(broker.broker.berths[0]).not.toHaveProperty("problems");
});
