/** Players stay when a new version of their server starts: examples/arena-server.mjs, and what it is made of. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { once } from "node:events";
import { writeSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { acquire } from "../../src/client/acquire.ts";
import { emptyFile, readNote, writeNote } from "../../src/client/handover/note.ts";
import { StoppedConnection } from "../../src/client/handover/stopped-connection.ts";
import { packageRoot } from "../../src/native.ts";
import { startBroker } from "../support/broker.ts";
import { tell } from "../support/counts.ts";
import { freePort } from "../support/ports.ts";

/** `npm run prove:upgrades` makes 20. */
const UPGRADES = Number(process.env["BERTHD_TEST_UPGRADES"] ?? 5);
const program = join(packageRoot, "examples/arena-server.mjs");

/** A process of the example, which serves. */
class ArenaServer implements AsyncDisposable {
  readonly child: ChildProcess;
  /** Players that it has from the one before. */
  players = 0;
  readonly ended: Promise<unknown>;

  private constructor(socket: string) {
    this.child = spawn(process.execPath, [program, "arena"], {
      env: { ...process.env, BERTHD_SOCKET: socket },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.ended = once(this.child, "exit");
  }

  static async start(socket: string): Promise<ArenaServer> {
    const server = new ArenaServer(socket);
    const { stdout } = server.child;
    if (stdout === null) throw new Error("no standard output");
    const [said] = await once(stdout.setEncoding("utf8"), "data");
    server.players = Number(/^serving (\d+) players/.exec(said)?.[1]);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGKILL");
    await this.ended;
  }
}

/** A process that takes the berth, or takes it over, does something, says what came of it, and lives on. */
class Newcomer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(socket: string, what: string) {
    const code = `import { acquire } from "berthd";
      const tenancy = await acquire("arena", { replace: "try" });
      const taken = await (async () => { ${what} })();
      console.log(JSON.stringify({ connections: taken?.connections.length, state: taken?.state.toString() }));
      setInterval(() => undefined, 1000);`;
    this.#child = spawn(process.execPath, ["--input-type=module", "-e", code], {
      cwd: packageRoot,
      env: { ...process.env, BERTHD_SOCKET: socket },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#ended = once(this.#child, "exit");
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async said(): Promise<{ connections?: number; state?: string }> {
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("no standard output");
    const [said] = await once(stdout.setEncoding("utf8"), "data");
    return JSON.parse(said);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

/** A player on TCP who only listens. */
class Listener {
  readonly socket: Socket;
  heard = "";

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1").setEncoding("latin1");
    this.socket.on("data", (text: string) => {
      this.heard += text;
    });
  }
}

/** What has gone wrong with players: 0 of each, if nobody notices an upgrade. */
interface Losses {
  refused: number;
  /** Connections that were reset or ended. */
  resets: number;
  /** Numbers that were never answered, or counted in another place. */
  lost: number;
  /** Numbers that were answered or counted more than once. */
  doubled: number;
}

const noLosses = (): Losses => ({ refused: 0, resets: 0, lost: 0, doubled: 0 });

/** What an answer says of number `due`: its player says each number once, so the server's count must be the same. */
function noteAnswer(losses: Losses, due: number, number: number, count: number): void {
  if (number < due || count > number) losses.doubled++;
  else if (number !== due || count !== number) losses.lost++;
}

/** A player on TCP: says a number, and the next when it has heard it back with the count of its lines. */
class Talker {
  readonly socket: Socket;
  readonly losses: Losses = noLosses();
  heard = 0;
  failure: string | undefined;
  #text = "";

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.setEncoding("latin1").on("data", (text: string) => this.#hear(text));
    this.socket.on("error", (error) => {
      this.losses[error.message.includes("ECONNREFUSED") ? "refused" : "resets"]++;
      this.#fail(error.message);
    });
    this.socket.on("end", () => {
      this.losses.resets++;
      this.#fail("end");
    });
    this.say();
  }

  say(): void {
    // In two parts, so that a part of a line waits somewhere.
    const line = `${this.heard + 1}\n`;
    this.socket.write(line.slice(0, 1));
    setImmediate(() => this.socket.write(line.slice(1)));
  }

  #hear(text: string): void {
    this.#text += text;
    const at = this.#text.indexOf("\n");
    if (at < 0) return;
    const line = this.#text.slice(0, at);
    this.#text = this.#text.slice(at + 1);
    this.heard++;
    const [number = 0, count = 0] = line.split(" ").map(Number);
    noteAnswer(this.losses, this.heard, number, count);
    if (line !== `${this.heard} ${this.heard}`) this.#fail(`heard ${line} as number ${this.heard}`);
    setTimeout(() => this.say(), 20);
  }

  #fail(why: string): void {
    this.failure ??= why;
  }
}

/** A player on UDP: as {@link Talker}. It never says a number twice, so a lost one stops it. */
class Shooter {
  readonly socket: Datagrams = createSocket("udp4");
  readonly #port: number;
  readonly #name: string;
  readonly losses: Losses = noLosses();
  heard = 0;
  failure: string | undefined;
  #isOver = false;

  constructor(port: number, name: string) {
    this.#port = port;
    this.#name = name;
    this.socket.on("message", (said) => this.#hear(said.toString()));
    this.#say();
  }

  end(): void {
    this.#isOver = true;
    this.socket.close();
  }

  #say(): void {
    if (!this.#isOver) this.socket.send(`${this.#name} ${this.heard + 1}`, this.#port, "127.0.0.1");
  }

  #hear(said: string): void {
    this.heard++;
    const due = `${this.#name} ${this.heard} ${this.heard}`;
    const [, number = 0, count = 0] = said.split(" ").map(Number);
    noteAnswer(this.losses, this.heard, number, count);
    if (said !== due) this.failure ??= `heard ${said} instead of ${due}`;
    setTimeout(() => this.#say(), 20);
  }
}

async function arena() {
  const [chat, game] = [await freePort(), await freePort()];
  const broker = await startBroker({
    "arena.toml": [
      `[sockets.chat]\nlisten = ["tcp://127.0.0.1:${chat}"]`,
      // What comes while nobody reads has room here: with the kernel's 208 KiB, a few of 200 datagrams were dropped.
      `[sockets.game]\nlisten = ["udp://127.0.0.1:${game}"]\nreceive-buffer = "4M"`,
    ].join("\n"),
  });
  return { broker, chat, game };
}

/** A sum over all players, and how many numbers they have heard. */
function countOf(players: readonly (Talker | Shooter)[]): Losses & { readonly numbers: number } {
  const sum = noLosses();
  for (const { losses } of players)
    for (const what of ["refused", "resets", "lost", "doubled"] as const) sum[what] += losses[what];
  return { numbers: players.reduce((all, { heard }) => all + heard, 0), ...sum };
}

/** Clients that connect at all times, and leave once they have heard the first number. Ends with the signal. */
async function come(port: number, end: AbortSignal): Promise<readonly Talker[]> {
  const all: Talker[] = [];
  while (!end.aborted) {
    const one = new Talker(port);
    all.push(one);
    await expect.poll(() => one.heard > 0 || one.failure !== undefined, { timeout: 30_000 }).toBe(true);
    one.socket.destroy();
  }
  return all;
}

const failures = (players: readonly (Talker | Shooter)[]): string[] =>
  players.flatMap(({ failure }) => (failure === undefined ? [] : [failure]));

/** Resolves when each has heard more than it had. */
async function go(players: readonly (Talker | Shooter)[]): Promise<void> {
  const before = players.map(({ heard }) => heard);
  const waiting = (): string[] =>
    players.flatMap((player, index) =>
      player.heard <= (before[index] ?? 0) + 1 ? [`${player.constructor.name} ${index}, at ${player.heard}`] : [],
    );
  await expect.poll(waiting, { timeout: 30_000 }).toEqual([]);
}

describe("a server that hands its connections over", { timeout: 180_000 }, () => {
  it("is upgraded again and again with 200 players on TCP and 200 on UDP: none is lost, and no number is", async ({
    task,
  }) => {
    const { broker, chat, game } = await arena();
    await using _ = broker;
    let server = await ArenaServer.start(broker.socket);
    const talkers = Array.from({ length: 200 }, () => new Talker(chat));
    const shooters = Array.from({ length: 200 }, (_, index) => new Shooter(game, `p${index}`));
    const stop = new AbortController();
    const coming = Array.from({ length: 2 }, () => come(chat, stop.signal));
    try {
      for (let upgrade = 0; upgrade < UPGRADES; upgrade++) {
        await go([...talkers, ...shooters]);
        const next = await ArenaServer.start(broker.socket);
        // And perhaps some who have just come.
        expect(next.players).toBeGreaterThanOrEqual(200);
        await server.ended;
        expect(server.child.exitCode).toBe(0);
        server = next;
      }
      await go([...talkers, ...shooters]);
      stop.abort();
      const guests = (await Promise.all(coming)).flat();
      const tcp = countOf([...talkers, ...guests]);
      const udp = countOf(shooters);
      tell(task, {
        upgrades: UPGRADES,
        "connections on TCP": talkers.length + guests.length,
        "numbers on TCP": tcp.numbers,
        refused: tcp.refused,
        reset: tcp.resets,
        "numbers on UDP": udp.numbers,
        "numbers lost": tcp.lost + udp.lost,
        "numbers doubled": tcp.doubled + udp.doubled,
      });
      expect(failures([...talkers, ...shooters, ...guests])).toEqual([]);
      expect([tcp, udp]).toMatchObject([noLosses(), noLosses()]);
    } finally {
      stop.abort();
      for (const { socket } of talkers) socket.destroy();
      for (const shooter of shooters) shooter.end();
      await server[Symbol.asyncDispose]();
    }
  });

  it("goes on with them when the newcomer dies before it is ready; and closes them for good, as before", async () => {
    const { broker, chat, game } = await arena();
    await using _ = broker;
    await using server = await ArenaServer.start(broker.socket);
    const talkers = Array.from({ length: 10 }, () => new Talker(chat));
    const shooter = new Shooter(game, "p");
    try {
      for (let round = 0; round < 3; round++) {
        await go([...talkers, shooter]);
        await using newcomer = new Newcomer(broker.socket, "return await tenancy.takeConnections()");
        expect((await newcomer.said()).connections).toBe(10);
      }
      await go([...talkers, shooter]);
      expect(failures([...talkers, shooter])).toEqual([]);
      const late = new Talker(chat);
      talkers.push(late);
      await go([late]);
      // What is closed here must not stay open in the broker.
      const ended = talkers.map(({ socket }) => new Promise((resolve) => socket.on("close", resolve)));
      server.child.kill("SIGKILL");
      await Promise.all(ended);
    } finally {
      for (const { socket } of talkers) socket.destroy();
      shooter.end();
    }
  });

  it("keeps them when the newcomer does not ask, or asks no longer", async () => {
    const { broker, chat } = await arena();
    await using _ = broker;
    await using server = await ArenaServer.start(broker.socket);
    const talker = new Talker(chat);
    try {
      await go([talker]);
      await using newcomer = new Newcomer(broker.socket, "");
      expect(await newcomer.said()).toEqual({});
      await go([talker]);
      expect(broker.broker.berths[0]?.descriptors).toHaveLength(2);
      expect([talker.failure, server.child.exitCode]).toEqual([undefined, null]);
    } finally {
      talker.socket.destroy();
    }
  });

  it("hands over as many as the berth holds, and serves the others until they leave", async () => {
    const { broker, chat } = await arena();
    await using _ = broker;
    await using server = await ArenaServer.start(broker.socket);
    const talkers = Array.from({ length: 260 }, () => new Talker(chat));
    try {
      await go(talkers);
      await using next = await ArenaServer.start(broker.socket);
      expect(next.players).toBeGreaterThan(240);
      expect(next.players).toBeLessThan(250);
      await go(talkers);
      expect(failures(talkers)).toEqual([]);
      expect(server.child.exitCode).toBeNull();
      for (const { socket } of talkers) socket.destroy();
      await server.ended;
    } finally {
      for (const { socket } of talkers) socket.destroy();
    }
  });
});

describe("a newcomer", () => {
  it("has the players of all servers that were named, and keeps them when the old process is killed", async () => {
    const [one, two] = [await freePort(), await freePort()];
    await using broker = await startBroker({
      "arena.toml": `[sockets.one]\nlisten = ["tcp://127.0.0.1:${one}"]\n[sockets.two]\nlisten = ["tcp://127.0.0.1:${two}"]\n`,
    });
    const serve = `const servers = [tenancy.net("one"), tenancy.net("two")];
      for (const server of servers) server.on("connection", (player) => player.write("old\\n"));
      tenancy.on("handover", () => tenancy.stashConnections(servers));
      await tenancy.ready()`;
    await using old = new Newcomer(broker.socket, serve);
    await old.said();
    const players = [one, two].map((port) => new Listener(port));
    try {
      await expect.poll(() => players.map(({ heard }) => heard)).toEqual(["old\n", "old\n"]);
      const take = `const taken = await tenancy.takeConnections();
        process.kill(${old.pid}, "SIGKILL");
        await tenancy.ready();
        for (const { socket } of taken.connections) socket.resume().write(\`new \${socket.localPort}\\n\`);
        return taken;`;
      await using next = new Newcomer(broker.socket, take);
      expect((await next.said()).connections).toBe(2);
      await expect.poll(() => players.map(({ heard }) => heard)).toEqual([`old\nnew ${one}\n`, `old\nnew ${two}\n`]);
    } finally {
      for (const { socket } of players) socket.destroy();
    }
  });
});

describe("takeConnections", () => {
  it("gives none where nobody has the berth, and after a while where the tenant leaves none", async () => {
    const { broker } = await arena();
    await using _ = broker;
    await using only = new Newcomer(broker.socket, "return await tenancy.takeConnections()");
    expect(await only.said()).toEqual({ connections: 0, state: "" });
    await using newcomer = new Newcomer(broker.socket, "return await tenancy.takeConnections({ waitMs: 50 })");
    expect(await newcomer.said()).toEqual({ connections: 0, state: "" });
    // It no longer asks.
    expect(broker.broker.berths[0]?.descriptors.map(({ name }) => name)).not.toContainEqual(
      expect.stringMatching(/wants$/),
    );
  });
});

describe("stashConnections", () => {
  it("refuses a server of somebody else's, and one when nobody asks", async () => {
    const { broker } = await arena();
    await using _ = broker;
    await using tenancy = await acquire("arena", { socket: broker.socket });
    const server = tenancy.net("chat");
    await expect(tenancy.stashConnections(server)).rejects.toMatchObject({ code: "TENANCY_CHANGED" });
    expect(server.listening).toBe(true);
    tenancy.on("resumed", () => undefined);
    const asked = once(tenancy, "handover");
    await using newcomer = new Newcomer(broker.socket, "return await tenancy.takeConnections()");
    await asked;
    await expect(tenancy.stashConnections(createServer())).rejects.toMatchObject({ code: "DESCRIPTOR_MISMATCH" });
    expect(await tenancy.stashConnections(server, { state: () => Buffer.from("arena1") })).toEqual({
      stashed: [],
      left: [],
    });
    expect(await newcomer.said()).toEqual({ connections: 0, state: "arena1" });
    await expect(tenancy.stashConnections(server)).rejects.toMatchObject({ code: "TENANCY_CHANGED" });
  });
});

describe("a stopped connection", () => {
  /** Both ends of a TCP connection. */
  async function pair(): Promise<{ near: Socket; far: Socket }> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const far = connect(port, "127.0.0.1");
    const [near] = (await once(server, "connection")) as [Socket];
    server.close();
    return { near, far };
  }

  it("reads no more, keeps what was read ahead, and goes on with it first", async () => {
    const { near, far } = await pair();
    near.pause();
    far.write("ahead ");
    await expect.poll(() => near.readableLength).toBe(6);
    let heard = "";
    near.on("data", (data) => {
      heard += data;
    });
    const stopped = StoppedConnection.stop(near);
    expect(stopped?.unread.toString()).toBe("ahead ");
    far.write("later");
    // Another connection's data arrive, and this one's do not.
    const other = await pair();
    other.far.write("x");
    await once(other.near, "data");
    expect([heard, near.readableLength]).toEqual(["", 0]);
    stopped?.resume();
    near.resume();
    await expect.poll(() => heard).toBe("ahead later");
    for (const one of [near, far, other.near, other.far]) one.destroy();
  });

  it("is none with setEncoding, once its peer has ended, and once it was closed", async () => {
    const { near, far } = await pair();
    near.setEncoding("utf8");
    expect(StoppedConnection.stop(near)).toBeUndefined();
    near.destroy();
    expect(StoppedConnection.stop(near)).toBeUndefined();
    far.resume();
    await once(far, "end");
    expect(StoppedConnection.stop(far)).toBeUndefined();
    far.destroy();
  });

  it("is not written as long as its peer does not read", async () => {
    const { near, far } = await pair();
    far.pause();
    near.write(Buffer.alloc(32 * 1024 * 1024));
    const stopped = StoppedConnection.stop(near);
    expect(await stopped?.written(10)).toBe(false);
    far.resume();
    expect(await stopped?.written(30_000)).toBe(true);
    for (const one of [near, far]) one.destroy();
  });
});

describe("a note", () => {
  it("is read as it was written, from its beginning", () => {
    const note = {
      connections: [{ name: "a", unread: Buffer.from([0, 255]), state: Buffer.from("s") }],
      state: Buffer.of(),
    };
    using file = writeNote(note);
    expect(readNote(file.fd)).toEqual(note);
    expect(readNote(file.fd)).toEqual(note);
  });

  it.each(["", "{", "[]", '{"version":2,"connections":[],"state":""}', '{"version":1,"connections":[{}],"state":""}'])(
    "of %j is not understood",
    (text) => {
      using file = emptyFile();
      writeSync(file.fd, text);
      expect(() => readNote(file.fd)).toThrow(expect.objectContaining({ code: "PROTOCOL_ERROR" }));
    },
  );
});
