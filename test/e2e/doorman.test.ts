/** A doorman, and the ends of brokers in processes of their own. */
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, vi } from "vitest";
import { needsBpf } from "../support/bpf.ts";
import { isReady } from "../support/broker.ts";
import { ask, asleep, berth, doormen, getstatus, PATIENCE, ready, status, talk } from "../support/doorman/doors.ts";
import { handshake, login, PING, REQUEST } from "../support/doorman/streams.ts";
import { Dynasty } from "../support/dynasty.ts";
import { leaksNothing } from "../support/fds.ts";
import { freePort } from "../support/ports.ts";
import { isThere, lateServer } from "../support/starting-broker.ts";
import { list } from "../support/succession.ts";

leaksNothing("soon");

const STATUS = Buffer.concat([handshake(1), REQUEST, PING]);
const LOGIN = Buffer.concat([handshake(2), login("Steve")]);
const held = 'asleep = "minecraft"\nhold-login = "28s"\n';

const problems = async (socket: string): Promise<unknown[]> =>
  (await list(socket)).flatMap((one) => (one as { problems?: unknown[] }).problems ?? []);

describe("a doorman", { timeout: 120_000 }, () => {
  it("ends with a broker that is killed, and the next one has the address at once", async () => {
    const port = await freePort();
    await using dynasty = new Dynasty();
    dynasty.config({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
    for (let round = 0; round < 5; round++) {
      const broker = await dynasty.start();
      expect(await problems(broker.socket)).toEqual([]);
      expect(await ask(port, getstatus)).toContain("Frozen Lake");
      const pid = await ready(broker.pid);
      // Also in the middle of its start: then the end of the channel tells it.
      process.kill(broker.pid, "SIGKILL");
      await broker.exited;
      await vi.waitFor(() => expect(isThere(pid)).toBe(false), PATIENCE);
    }
  });

  it("ends with a broker that is killed before it is ready", async () => {
    const port = await freePort();
    await using dynasty = new Dynasty();
    dynasty.config({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
    const broker = dynasty.launch();
    await broker.logged(isReady);
    const [pid = 0] = await vi.waitFor(() => {
      const found = doormen(broker.pid);
      expect(found.length).toBe(1);
      return found;
    }, PATIENCE);
    process.kill(broker.pid, "SIGKILL");
    await broker.exited;
    await vi.waitFor(() => expect(isThere(pid)).toBe(false), PATIENCE);
  });

  it("leaves a login that it holds to the server, also if the broker is killed", needsBpf(), async () => {
    const port = await freePort();
    await using dynasty = new Dynasty();
    dynasty.config({ "world.toml": berth([`tcp://127.0.0.1:${port}`], held, lateServer) });
    const broker = await dynasty.start();
    // From this answer on it holds logins.
    expect(await talk(port, STATUS)).toContain('"online":0');
    const player = connect(port, "127.0.0.1");
    player.write(LOGIN);
    const server = await vi.waitFor(async () => {
      const [world] = (await list(broker.socket)) as { lease?: { pid: number } | null }[];
      const pid = world?.lease?.pid ?? expect.unreachable();
      expect(status(pid)).toMatch(/^SigCgt:.*[2367abef]..$/m);
      return pid;
    }, PATIENCE);
    process.kill(broker.pid, "SIGKILL");
    await broker.exited;
    process.kill(server, "SIGUSR1");
    expect(await text(player)).toBe(`0: ${LOGIN.toString("hex")}`);
    process.kill(server, "SIGKILL");
    await vi.waitFor(() => expect(isThere(server)).toBe(false), PATIENCE);
  });

  it("is another one after a takeover, which ends the first before it ends the broker", async () => {
    const port = await freePort();
    await using dynasty = new Dynasty();
    dynasty.config({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
    let pid = await ready((await dynasty.start()).pid);
    for (let round = 0; round < 3; round++) {
      expect(await ask(port, getstatus)).toContain("Frozen Lake");
      const heir = await dynasty.replace();
      await vi.waitFor(() => expect(isThere(pid)).toBe(false), PATIENCE);
      pid = await ready(heir.pid);
      expect(await problems(heir.socket)).toEqual([]);
      expect(heir.log.filter(({ event }) => event === "doorman")).toEqual([]);
    }
    expect(await ask(port, getstatus)).toContain("Frozen Lake");
    expect((await list(dynasty.socket)).map(({ state }) => state)).toEqual(["vacant"]);
  });

  it("is given back its sockets when a takeover fails", async () => {
    const port = await freePort();
    await using dynasty = new Dynasty();
    dynasty.config({ "arena.toml": berth([`udp://127.0.0.1:${port}`], asleep) });
    const broker = await dynasty.start();
    const pid = await ready(broker.pid);
    dynasty.config({ "wrong.toml": "nonsense\n" });
    const heir = dynasty.launch(["--replace", "must"]);
    await heir.exited;
    expect(await ask(port, getstatus)).toContain("Frozen Lake");
    expect(await ready(broker.pid)).toBe(pid);
  });
});
