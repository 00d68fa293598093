/** A doorman asks servers that run who plays, with real processes: `stop-after` and drains go by the answer. */
import { once } from "node:events";
import { describe, expect, it, vi } from "vitest";
import { asleep, berth, client, getstatus, join3, PATIENCE, ready, send, talk } from "../../support/doorman/doors.ts";
import { handshake, login, REQUEST } from "../../support/doorman/streams.ts";
import { leaksNothing } from "../../support/fds.ts";
import { RawPeer } from "../../support/peer.ts";
import { freePort } from "../../support/ports.ts";
import { type StartingBroker, startingBroker, statusServer } from "../../support/starting-broker.ts";

leaksNothing("soon");

/** How often a monitor asks, in milliseconds: much more often than a server may be idle. */
const MONITOR_MS = 100;

/** Sends a command until the server has carried it out. */
async function command(port: number, words: string): Promise<void> {
  const udp = await client(port);
  const again = setInterval(() => udp.send(words), 200);
  const done = new Promise<void>((resolve) => udp.on("message", (said) => String(said) === "set" && resolve()));
  await done;
  clearInterval(again);
  udp.close();
}

const plays = ({ broker }: StartingBroker, count: number): Promise<void> =>
  vi.waitFor(() => expect(broker.berths[0]?.players?.count).toBe(count), PATIENCE);

const said = ({ log }: StartingBroker, words: string): boolean => log.some(({ message }) => message.includes(words));

describe("a server that runs", { timeout: 120_000 }, () => {
  it("is stopped once it answers that nobody plays, although a monitor asks it all the time", async () => {
    const port = await freePort();
    const file = berth([`udp://127.0.0.1:${port}`], `${asleep}stop-after = "3s"\n`, statusServer);
    await using broker = await startingBroker({ "arena.toml": file });
    await ready();
    const udp = await client(port);
    const monitor = setInterval(() => udp.send(getstatus), MONITOR_MS);
    const join = setInterval(() => udp.send(join3), 500);
    await broker.watcher.count("acquired", 1);
    clearInterval(join);
    await command(port, "players 2");
    await plays(broker, 2);
    await command(port, "players 0");
    await broker.watcher.count("released", 1);
    clearInterval(monitor);
    udp.close();
    expect(said(broker, "nobody has played for 3 s")).toBe(true);
  });

  it("that does not answer is stopped without traffic, and the doorman's questions are none", async () => {
    const port = await freePort();
    await using broker = await startingBroker({
      "arena.toml": berth([`udp://127.0.0.1:${port}`], `${asleep}stop-after = "3s"\n`),
    });
    await ready();
    const udp = await client(port);
    const echo = once(udp, "message");
    await send(udp, join3);
    await echo;
    await broker.watcher.count("released", 1);
    udp.close();
    expect(said(broker, "no traffic for 3 s")).toBe(true);
    expect(broker.broker.berths[0]?.players).toBeUndefined();
  });

  it("minecraft: is drained once it answers that nobody plays, although a monitor asks it all the time", async () => {
    const port = await freePort();
    const file = berth([`tcp://127.0.0.1:${port}`], 'asleep = "minecraft"\n', statusServer);
    await using broker = await startingBroker({ "world.toml": file });
    await talk(port, Buffer.concat([handshake(2), login("Steve")]));
    await broker.watcher.count("acquired", 1);
    expect(await talk(port, Buffer.from("players 1"))).toBe("set");
    let isOver = false;
    const monitor = (async (): Promise<void> => {
      while (!isOver) await talk(port, Buffer.concat([handshake(1), REQUEST])).catch(() => undefined);
    })();
    using peer = await RawPeer.connect(broker.socket);
    expect(await peer.call("Drain", { berth: "world" })).toMatchObject({ parameters: { drain: {} } });
    await plays(broker, 1);
    expect(broker.watcher.names()).not.toContain("released");
    expect(await talk(port, Buffer.from("players 0"))).toBe("set");
    await broker.watcher.count("released", 1);
    isOver = true;
    expect(said(broker, "it is drained, and nobody plays")).toBe(true);
    await monitor;
  });
});
