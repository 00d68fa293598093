/** Scans and queries start no server that sleeps, and one join starts it: with real doormen, in each protocol. */
import { once } from "node:events";
import { connect } from "node:net";
import { GameDig } from "gamedig";
import { beforeAll, describe, expect, it } from "vitest";
import { ask, asleep, berth, client, getstatus, join3, ping, ready, send, talk } from "../../support/doorman/doors.ts";
import { joins, queries, scans } from "../../support/doorman/scans.ts";
import { handshake, login, streamQueries, streamScans } from "../../support/doorman/streams.ts";
import { leaksNothing } from "../../support/fds.ts";
import { freePort } from "../../support/ports.ts";
import { type StartingBroker, startingBroker } from "../../support/starting-broker.ts";

leaksNothing("soon");

// gamedig makes a socket at its first query, and keeps it.
beforeAll(async () => {
  const nobody = { type: "protocol-valve", host: "127.0.0.1", port: 9, givenPortOnly: true, requestPlayers: false };
  await GameDig.query({ ...nobody, maxRetries: 0, socketTimeout: 1, attemptTimeout: 1 }).catch(() => undefined);
});

const SCANS = 10_000;
/** Of those, by TCP to a berth of Minecraft, and how many at a time. */
const CONNECTIONS = 2000;
const AT_A_TIME = 50;
const noise = [...Object.values(scans), ...Object.values(queries).map(({ bytes }) => bytes)];
const streamNoise = [...Object.values(streamScans), ...Object.values(streamQueries)];
const PATIENCE = { maxRetries: 5, socketTimeout: 5000, attemptTimeout: 30_000, requestPlayers: false };

const like = (protocol: string): string =>
  `asleep = "${protocol}"\nasleep-as = { name = "Frozen Lake", map = "lake", slots = 12 }\n`;

const starts = ({ watcher }: StartingBroker): number => watcher.names().filter((name) => name === "starting").length;

async function scanDatagrams(port: number, count: number): Promise<void> {
  const udp = await client(port);
  for (let sent = 0; sent < count; sent++) await send(udp, noise[sent % noise.length] ?? new Uint8Array(0));
  udp.close();
}

async function scanStreams(port: number, count: number): Promise<void> {
  const one = async (bytes: Uint8Array, isAborted: boolean): Promise<void> => {
    const tcp = connect(port, "127.0.0.1");
    tcp.on("error", () => undefined);
    await once(tcp, "connect");
    // A scan may be cut off, which is an error.
    const closed = new Promise((resolve) => tcp.on("close", resolve));
    tcp.resume();
    if (isAborted) tcp.write(bytes, () => tcp.resetAndDestroy());
    else tcp.end(bytes);
    await closed;
  };
  for (let done = 0; done < count; done += AT_A_TIME) {
    const some = Array.from({ length: AT_A_TIME }, (_, at) => done + at);
    await Promise.all(some.map((at) => one(streamNoise[at % streamNoise.length] ?? new Uint8Array(0), at % 3 === 0)));
  }
}

const tell = (protocol: string, before: number, after: number): void =>
  console.log(`${protocol}: ${SCANS} scans: ${before} starts; 1 join: ${after - before} start`);

describe("a server that sleeps", { timeout: 120_000 }, () => {
  it.each([
    { protocol: "a2s", seenBy: "protocol-valve", join: "Source 2013" },
    { protocol: "quake3", seenBy: "protocol-quake3", join: "ioquake3" },
    { protocol: "bedrock", seenBy: "protocol-minecraftbedrock", join: "Bedrock" },
    { protocol: "teeworlds", seenBy: undefined, join: "Teeworlds 0.6" },
  ])("$protocol: 10,000 scans start nothing, and one join starts it", async ({ protocol, seenBy, join }) => {
    const port = await freePort();
    await using broker = await startingBroker({ "arena.toml": berth([`udp://127.0.0.1:${port}`], like(protocol)) });
    await ready();
    if (seenBy !== undefined) {
      const state = await GameDig.query({ type: seenBy, host: "127.0.0.1", port, givenPortOnly: true, ...PATIENCE });
      expect(state).toMatchObject({ name: "Frozen Lake", numplayers: 0 });
    }
    await scanDatagrams(port, SCANS);
    // It has read them all when it answers the last one.
    const [question] = Object.values(queries).filter(({ of }) => of === protocol);
    expect(await ask(port, question?.bytes ?? expect.unreachable())).not.toBe("");
    const before = starts(broker);
    const udp = await client(port);
    await send(udp, joins[join]?.bytes ?? expect.unreachable());
    await broker.watcher.count("acquired", 1);
    udp.close();
    tell(protocol, before, starts(broker));
    expect([before, starts(broker)]).toEqual([0, 1]);
  });

  it("minecraft: 10,000 scans by TCP and UDP start nothing, and one join starts it", async () => {
    const port = await freePort();
    const listen = [`tcp://127.0.0.1:${port}`, `udp://127.0.0.1:${port}`];
    await using broker = await startingBroker({ "world.toml": berth(listen, like("minecraft")) });
    await ready();
    const java = { type: "protocol-minecraftvanilla", host: "127.0.0.1", port, givenPortOnly: true, ...PATIENCE };
    expect(await GameDig.query(java)).toMatchObject({ numplayers: 0, maxplayers: 12 });
    await scanDatagrams(port, SCANS - CONNECTIONS);
    await scanStreams(port, CONNECTIONS);
    expect(await ask(port, ping)).toContain(";Frozen Lake;");
    expect(await GameDig.query(java)).toMatchObject({ numplayers: 0, maxplayers: 12 });
    const before = starts(broker);
    expect(await talk(port, Buffer.concat([handshake(2), login("Steve")]))).toContain("Frozen Lake is starting");
    await broker.watcher.count("acquired", 1);
    tell("minecraft", before, starts(broker));
    expect([before, starts(broker)]).toEqual([0, 1]);
  });

  it("gets the packet that woke it first, and none of the scans before", async () => {
    const port = await freePort();
    await using broker = await startingBroker({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
    await ready();
    await scanDatagrams(port, 500);
    expect(await ask(port, getstatus)).toContain("Frozen Lake");
    const udp = await client(port);
    const echo = once(udp, "message");
    await send(udp, join3);
    const [first] = await echo;
    expect(first).toEqual(Buffer.concat([Buffer.from("echo "), join3]));
    udp.close();
    expect(starts(broker)).toBe(1);
  });
});
