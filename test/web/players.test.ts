/** Who plays: what is asked, when, and what of the answer is believed. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as listen } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { describe, expect, it, vi } from "vitest";
import type { Overview } from "../../packages/web/src/api/shapes.ts";
import { limits } from "../../packages/web/src/http/limits.ts";
import { Streams } from "../../packages/web/src/http/streams.ts";
import { Berths } from "../../packages/web/src/model/berths.ts";
import { Users } from "../../packages/web/src/model/users.ts";
import { Asker, AskingEnded, LAST_PAUSE_MS, PAUSE_MS } from "../../packages/web/src/players/asker.ts";
import { AskingProcesses } from "../../packages/web/src/players/asking-processes.ts";
import { PlayersOfBerths } from "../../packages/web/src/players/players-of-berths.ts";
import { answerOf, type Question, questionOf, typeFor } from "../../packages/web/src/players/question.ts";
import { Site } from "../../packages/web/src/site.ts";
import { connect } from "../../src/index.ts";
import { printable } from "../../src/printable.ts";
import type { Berth } from "../../src/varlink/interfaces/io.berthd.Broker.types.ts";
import { spawnBroker } from "../support/broker.ts";
import { freePort } from "../support/ports.ts";
import { valveBomb } from "../support/web/valve-bomb.ts";
import { askJson, startWeb } from "../support/web/web-process.ts";

const user = process.getuid?.() === 0 ? 'user = "nobody"' : "";

const berth: Berth = {
  name: "arena",
  state: "occupied",
  lease: { id: "l1", pid: 1, uid: 1 },
  descriptors: [{ name: "game", kind: "datagram", address: "udp://[::]:27960" }],
  query: { type: "quake3" },
};

describe("the question", () => {
  it("goes to the berth's own socket, or where the configuration says", () => {
    expect(questionOf(berth)).toEqual({ type: "quake3", host: "::1", port: 27960 });
    const elsewhere = { ...berth, query: { type: "valve", host: "10.0.0.9", port: 5 } };
    expect(questionOf(elsewhere)).toEqual({ type: "valve", host: "10.0.0.9", port: 5 });
  });

  it("is not asked of a vacant berth, nor without a query", () => {
    expect([questionOf({ ...berth, state: "vacant" }), questionOf({ ...berth, query: null })]).toEqual([
      undefined,
      undefined,
    ]);
  });

  it("names a game, or else a protocol", () => {
    const types = ["q3a", "quake3", "minecraft-bedrock", "constructor"].map((type) =>
      typeFor(type, { q3a: 1 }, ["quake3", "minecraftbedrock"]),
    );
    expect(types).toEqual(["q3a", "protocol-quake3", "protocol-minecraftbedrock", undefined]);
  });
});

describe("the answer", () => {
  it("is believed within reason: numbers that are counts, text without control characters", () => {
    expect(answerOf({ numplayers: 7, maxplayers: "16", name: "\u001b[31mRed\n", map: "q3dm17" })).toEqual({
      players: 7,
      slots: 16,
      name: "[31mRed",
      map: "q3dm17",
      game: null,
    });
    expect(answerOf({ players: [{}, {}], maxplayers: 0 })).toEqual({
      players: 2,
      slots: null,
      name: null,
      map: null,
      game: null,
    });
    expect(answerOf({ numplayers: 1e15, map: "x".repeat(1000) })?.players).toBe(100_000);
    expect(answerOf({ numplayers: 1, map: "x".repeat(1000) })?.map).toHaveLength(128);
  });

  it("has no text that the broker refuses: nothing invisible, and no half of a character", () => {
    const names = ["a\u00adb\u061cc\ud83dd", "\u{1f600}".repeat(100), `x${"\u{1f600}".repeat(100)}`].map(
      (name) => answerOf({ numplayers: 1, name })?.name ?? "",
    );
    expect(names).toEqual(["a b c d", `${"\u{1f600}".repeat(63)}…`, `x${"\u{1f600}".repeat(63)}…`]);
    for (const name of names) expect([printable(name), name.length <= 128]).toEqual([name, true]);
  });

  it.each([undefined, null, 5, "x", {}, { numplayers: -1 }, { numplayers: 1.5 }, { numplayers: null }])(
    "%j says nothing",
    (result) => expect(answerOf(result)).toBe(undefined),
  );
});

it("a server that does not answer is asked less and less often, and told of once", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  try {
    let asked = 0;
    const failed: string[] = [];
    let works = false;
    const asker = new Asker({
      ask: async () => {
        asked++;
        if (!works) throw new Error("no answer");
        return { players: 1, slots: 2, name: null, map: null, game: null };
      },
      answered: () => undefined,
      failed: (name, why) => failed.push(`${name}: ${why}`),
    });
    const askedIn = async (ms: number): Promise<number> => {
      const before = asked;
      for (let at = 0; at < ms; at += 1000) {
        vi.setSystemTime(Date.now() + 1000);
        asker.tick([berth], Date.now());
        await new Promise(setImmediate);
      }
      return asked - before;
    };
    expect(await askedIn(60 * 60_000)).toBeLessThan(20);
    expect(failed).toEqual(["arena: no answer"]);
    works = true;
    await askedIn(LAST_PAUSE_MS);
    const often = await askedIn(10 * PAUSE_MS);
    expect(often).toBeGreaterThanOrEqual(9);
    expect(often).toBeLessThanOrEqual(11);
  } finally {
    vi.useRealTimers();
  }
});

it("a server whose question ended the process that asks is asked alone, one such at a time", async () => {
  const alone: string[] = [];
  const together: string[] = [];
  const hangs = new Promise<never>(() => undefined);
  const asker = new Asker({
    ask: (question, isAlone) => {
      (isAlone ? alone : together).push(question.host);
      return isAlone ? hangs : Promise.reject(new AskingEnded("ended"));
    },
    answered: () => undefined,
    failed: () => undefined,
  });
  const berths = ["a", "b"].map((name) => ({ ...berth, name, query: { type: "valve", host: name } }));
  for (const at of [0, 1, 2]) {
    asker.tick(berths, Date.now() + at * LAST_PAUSE_MS);
    await new Promise(setImmediate);
  }
  expect([together, alone]).toEqual([["a", "b"], ["a"]]);
});

/** Answers as Quake III does: https://www.quake3world.com, `getstatus`. */
async function quakeServer(): Promise<Socket> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  socket.on("message", (message, { port, address }) => {
    if (!message.toString("latin1").includes("getstatus")) return;
    const status = "\\sv_hostname\\Red\\mapname\\q3dm17\\sv_maxclients\\12";
    socket.send(
      Buffer.from(`\xff\xff\xff\xffstatusResponse\n${status}\n5 20 "one"\n7 31 "two"\n`, "latin1"),
      port,
      address,
    );
  });
  await once(socket, "listening");
  return socket;
}

it("players of a real question are on the page and in List, without their names", async () => {
  const server = await quakeServer();
  try {
    const query = `query = { type = "quake3", host = "127.0.0.1", port = ${server.address().port} }`;
    await using broker = await spawnBroker({
      "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[server]\ncommand = ["true"]\n${user}\n${query}\n`,
    });
    await using web = await startWeb(broker.socket);
    const client = await connect({ socket: broker.socket });
    (await client.call("io.berthd.Broker.Acquire", { berth: "arena" }))[Symbol.dispose]();
    await vi.waitFor(async () => {
      const { berths } = await askJson<Overview>(web, "/api/v1/overview");
      expect(berths[0]).toMatchObject({ players: 2, slots: 12, map: "q3dm17" });
    }, 30_000);
    await vi.waitFor(async () => {
      const [record] = await client.berths();
      expect(record?.players).toMatchObject({ count: 2, max: 12, name: "Red", map: "q3dm17" });
    }, 30_000);
    expect(JSON.stringify(await askJson(web, "/api/v1/overview"))).not.toContain('"one"');
    client.close();
    const [pid] = children(web.child.pid);
    web.child.kill("SIGTERM");
    await once(web.child, "exit");
    expect([web.child.exitCode, web.child.signalCode]).toEqual([0, null]);
    await vi.waitFor(() => expect(existsSync(`/proc/${pid}`)).toBe(false), 30_000);
  } finally {
    server.close();
  }
});

function children(pid: number | undefined): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
}

it("a site that is closed ends the process that asks", async () => {
  const server = await quakeServer();
  try {
    const query = `query = { type = "quake3", host = "127.0.0.1", port = ${server.address().port} }`;
    await using broker = await spawnBroker({
      "arena.toml": `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n[server]\ncommand = ["true"]\n${user}\n${query}\n`,
    });
    const client = await connect({ socket: broker.socket });
    (await client.call("io.berthd.Broker.Acquire", { berth: "arena" }))[Symbol.dispose]();
    const streams = new Streams(limits);
    const publicBerths = new Map<string, string>();
    const options = { host: "vm", socket: broker.socket, address: undefined, publicBerths };
    const site = new Site(options, streams, undefined);
    await vi.waitFor(() => expect(site.rowOf("arena")).toMatchObject({ players: 2 }), 30_000);
    expect(askingProcesses()).toHaveLength(1);
    await site.close();
    streams.close();
    await vi.waitFor(() => expect(askingProcesses()).toEqual([]), 30_000);
    client.close();
  } finally {
    server.close();
  }
});

it("no berth is blamed for a question that the end of berth-web has cut off", async () => {
  const silent = createSocket("udp4").bind(0, "127.0.0.1");
  await once(silent, "listening");
  const told = vi.spyOn(console, "error").mockReturnValue(undefined);
  try {
    const berths = new Berths(new Users());
    const query = { type: "quake3", host: "127.0.0.1", port: silent.address().port };
    berths.apply({ event: "present", berth: { ...berth, query } }, Date.now());
    const players = new PlayersOfBerths(berths, { report: () => Promise.reject(new Error("refused")) });
    players.tick(Date.now());
    players.close();
    await vi.waitFor(() => expect(askingProcesses()).toEqual([]), 30_000);
    expect(told.mock.calls).toEqual([]);
  } finally {
    told.mockRestore();
    silent.close();
  }
});

/** The children of this process that ask servers. */
function askingProcesses(): string[] {
  const tasks = readdirSync("/proc/self/task");
  const pids = tasks.flatMap((task) => readFileSync(`/proc/self/task/${task}/children`, "utf8").trim().split(" "));
  return pids.filter((pid) => pid !== "" && commandOf(pid).includes("gamedig-child"));
}

/** Empty where it has ended. */
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

it("a refused report is told of once for each berth", async () => {
  const server = await quakeServer();
  const told = vi.spyOn(console, "error").mockReturnValue(undefined);
  try {
    const berths = new Berths(new Users());
    const query = { type: "quake3", host: "127.0.0.1", port: server.address().port };
    for (const name of ["a", "b"]) berths.apply({ event: "present", berth: { ...berth, name, query } }, Date.now());
    const players = new PlayersOfBerths(berths, { report: () => Promise.reject(new Error("refused")) });
    const answers = (): unknown[] => berths.all().map(({ query }) => query?.players);
    for (const later of [0, 1]) {
      const asked = Date.now();
      players.tick(asked + later * LAST_PAUSE_MS);
      const isAnswered = (): boolean => berths.all().every(({ query }) => (query?.at ?? 0) >= asked);
      await vi.waitFor(() => expect(isAnswered()).toBe(true), 30_000);
    }
    expect(answers()).toEqual([2, 2]);
    expect(told.mock.calls.map(([, name]) => name).sort()).toEqual(["a", "b"]);
  } finally {
    told.mockRestore();
    server.close();
  }
});

describe("the process that asks", () => {
  const at = (type: string, port: number): Question => ({ type, host: "127.0.0.1", port });

  it("is ended when an answer fills it or holds it up, and others are asked on", { timeout: 120_000 }, async () => {
    const [server, bomb] = await Promise.all([quakeServer(), valveBomb()]);
    const processes = new AskingProcesses();
    const delay = monitorEventLoopDelay();
    const friend = at("quake3", server.address().port);
    const enemy = at("valve", bomb.address().port);
    const ended = /^no answer to valve from 127\.0\.0\.1:\d+: .+; see server\.query in its file$/;
    try {
      await expect(processes.ask(friend, false)).resolves.toMatchObject({ players: 2 });
      const [first] = processes.pids;
      delay.enable();
      const error: unknown = await processes.ask(enemy, false).catch((error) => error);
      expect(error).toBeInstanceOf(AskingEnded);
      expect(String(error)).toMatch(/too much memory|too long|has ended/);
      await expect(processes.ask(friend, false)).resolves.toMatchObject({ players: 2 });
      expect(processes.pids).not.toContain(first);
      const alone = expect(processes.ask(enemy, true)).rejects.toThrow(ended);
      await expect(processes.ask(friend, false)).resolves.toMatchObject({ players: 2, slots: 12, name: "Red" });
      await alone;
      expect(delay.max / 1e6).toBeLessThan(1000);
    } finally {
      delay.disable();
      server.close();
      bomb.close();
    }
  });

  it("is ended also by an answer that holds up the others for a few seconds", async () => {
    const root = { description: "<".repeat(250_000), channels: [], users: [] };
    const mumble = listen((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.write(JSON.stringify({ name: "slow", root })));
    }).listen(0, "127.0.0.1");
    await once(mumble, "listening");
    const { port }: AddressInfo = Object(mumble.address());
    try {
      const error: unknown = await new AskingProcesses().ask(at("mgm", port), false).catch((error) => error);
      expect(error).toBeInstanceOf(AskingEnded);
      expect(String(error)).toContain("reading an answer takes too long");
    } finally {
      mumble.close();
    }
  });

  it("has none of the page's sockets, and of its environment only PATH", async () => {
    const server = await quakeServer();
    const sockets = (pid: number | "self"): string[] =>
      readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
        const target = linkOf(`/proc/${pid}/fd/${fd}`);
        return target.startsWith("socket:") ? [target] : [];
      });
    try {
      const processes = new AskingProcesses();
      await processes.ask(at("quake3", server.address().port), false);
      const own = sockets("self");
      expect(own).not.toEqual([]);
      const [pid = 0] = processes.pids;
      expect(sockets(pid).filter((socket) => own.includes(socket))).toEqual([]);
      expect(readFileSync(`/proc/${pid}/environ`, "utf8")).toBe(`PATH=${process.env["PATH"]}\0`);
    } finally {
      server.close();
    }
  });

  it("follows no redirection, and asks for nothing compressed", async () => {
    const seen: unknown[] = [];
    const server = createServer(({ url, headers }, response) => {
      seen.push([url, headers["accept-encoding"]]);
      response.writeHead(302, { location: "/elsewhere" }).end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port }: AddressInfo = Object(server.address());
    try {
      const answer = new AskingProcesses().ask(at("eco", port), false);
      await expect(answer).rejects.toThrow(
        `no answer to eco from 127.0.0.1:${port}: Bad status code: 302; see server.query in its file`,
      );
      expect(seen).toEqual([["/frontpage", undefined]]);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it.each([
    ["nobody", "there is no game and no protocol of this name"],
    ["minecraft-vanilla", "nothing listens there"],
    ["quake3", "it did not answer in time"],
  ])("says in words why %s gives no answer: %s", async (type, why) => {
    const port = await freePort();
    await expect(new AskingProcesses().ask(at(type, port), false)).rejects.toThrow(
      `no answer to ${type} from 127.0.0.1:${port}: ${why}; see server.query in its file`,
    );
  });
});

/** Where a descriptor leads; nowhere where it is closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
