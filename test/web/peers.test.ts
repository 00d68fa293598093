/** One page of several hosts: what their berth-webs say, what happens without them, and what a hostile one can do. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import type {
  BerthDetail,
  Overview,
  Patch,
  Quiet,
  Series,
  StreamTimeline,
  Timeline,
} from "../../packages/web/src/api/shapes.ts";
import { MAX_BYTES, PeerClient } from "../../packages/web/src/peers/peer-client.ts";
import { Peers } from "../../packages/web/src/peers/peers.ts";
import { PeersThread } from "../../packages/web/src/peers/peers-thread.ts";
import { packageRoot } from "../../src/native.ts";
import { type BrokerProcess, spawnBroker, TestFolder } from "../support/broker.ts";
import { EventStream } from "../support/web/event-stream.ts";
import { ask, askJson, runWeb, startWeb, type WebProcess } from "../support/web/web-process.ts";
import { endsWithTest } from "../support/wrap.ts";
import { madeUpBerth, madeUpHost } from "./page/support/made-up.ts";
import { madeUpDetail } from "./page/support/made-up-detail.ts";

const isRoot = process.getuid?.() === 0;
const server = `[server]\ncommand = ["sleep", "600"]\n${isRoot ? 'user = "nobody"' : ""}\n`;
const arena = `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${server}`;

describe("two hosts on one page", () => {
  let brokers: BrokerProcess[];
  let first: WebProcess;
  let second: WebProcess;
  let secondArgs: string[];
  let secondPath = "";

  beforeAll(async () => {
    const [one, two] = await Promise.all([
      spawnBroker({ "arena.toml": arena }),
      spawnBroker({ "arena.toml": arena, "tanks@.toml": arena, "tanks@1.toml": "" }),
    ]);
    brokers = [one, two];
    one.folder.write({ token: "0123456789abcdef0123456789abcdef\n" });
    const token = join(one.folder.path, "token");
    secondPath = join(two.folder.path, "web.sock");
    secondArgs = [
      "--history",
      join(two.folder.path, "history.db"),
      "--token-file",
      token,
      "--listen",
      `unix:${secondPath}`,
    ];
    second = await startWeb(two.socket, secondArgs);
    first = await startWeb(one.socket, ["--peer", `h2=unix:${secondPath}`, "--peer-token-file", `h2=${token}`]);
    await vi.waitFor(async () => {
      const { hosts } = await overview();
      expect(hosts.map(({ version }) => version)).toEqual([expect.any(String), expect.any(String)]);
    }, 30_000);
  }, 60_000);
  afterAll(async () => {
    await first?.[Symbol.asyncDispose]();
    await second?.[Symbol.asyncDispose]();
    for (const broker of brokers ?? []) await broker[Symbol.asyncDispose]();
  });

  const overview = (): Promise<Overview> => askJson<Overview>(first, "/api/v1/overview");

  it("shows the berths of both, each below the name of its host", async () => {
    const { hosts, berths } = await overview();
    const own = hosts[0]?.id ?? "";
    expect(hosts.map(({ id, unreachableSince }) => [id, unreachableSince])).toEqual([
      [own, null],
      ["h2", null],
    ]);
    expect(berths.map(({ host, name }) => `${host}/${name}`).sort()).toEqual(
      [`${own}/arena`, "h2/arena", "h2/tanks@1"].sort(),
    );
  });

  it("a berth of the other host has its detail, plots, timeline and quiet hours from there", async () => {
    const detail = await askJson<BerthDetail>(first, "/api/v1/berths/h2/tanks@1");
    expect(detail).toMatchObject({ host: "h2", name: "tanks@1", sockets: [{ name: "game" }], publicPage: null });
    const series = await askJson<Series>(first, "/api/v1/berths/h2/arena/series?range=24h");
    expect(series.players.mean).toHaveLength(144);
    expect(await askJson<Timeline>(first, "/api/v1/berths/h2/arena/timeline?limit=5")).toMatchObject({ more: false });
    for (const [query, berth] of [
      ["host=h2", null],
      ["berth=h2/arena", "h2/arena"],
    ]) {
      expect(await askJson<Quiet>(first, `/api/v1/quiet?${query}`)).toMatchObject({ host: "h2", berth, enough: false });
    }
    for (const path of ["berths/h2/none", "berths/h2/none/series", "berths/h2/arena/more", "berths/h3/arena"]) {
      expect([path, (await ask(first, `/api/v1/${path}`)).status]).toEqual([path, 404]);
    }
    expect((await ask(first, "/api/v1/quiet?berth=h2")).status).toBe(400);
    // The metrics are those of this host: Prometheus asks each host itself.
    expect((await ask(first, "/metrics")).body).not.toContain("tanks@1");
  });

  it("tells open pages what happens there", async () => {
    using stream = new EventStream(first.port);
    await stream.until(({ name }) => name === "state");
    const [command = "", ...rest] = [...endsWithTest, process.execPath, join(packageRoot, "dist/berth/berth.cjs")];
    const run = spawn(command, [...rest, "run", "--socket", brokers[1]?.socket ?? "", "arena"], { stdio: "ignore" });
    await stream.until(({ name, data }) => {
      const isOf = (one: Patch["berths"][number]): boolean =>
        one.host === "h2" && one.name === "arena" && one.state === "serving";
      return name === "patch" && (data as Patch).berths.some(isOf);
    });
    const told = await stream.until(({ name }) => name === "timeline");
    expect(told.data as StreamTimeline).toMatchObject({ host: "h2", name: "arena", event: { kind: "lease" } });
    const closed = once(run, "close");
    run.kill("SIGKILL");
    await closed;
  });

  it("keeps what it knew of a host that is away, and finds it again", async () => {
    await second[Symbol.asyncDispose]();
    // A program that is killed leaves its path.
    rmSync(secondPath);
    await expect
      .poll(async () => (await overview()).hosts[1], { timeout: 30_000 })
      .toMatchObject({
        id: "h2",
        unreachableSince: expect.any(Number),
        nextTry: expect.any(Number),
      });
    expect((await overview()).berths).toHaveLength(3);
    expect((await ask(first, "/healthz")).status).toBe(200);
    const { status, body } = await ask(first, "/api/v1/berths/h2/arena");
    expect([status, JSON.parse(body)]).toMatchObject([502, { error: { message: /^host h2 gives no answer: / } }]);
    const { port } = second;
    const options = ["--listen", `127.0.0.1:${port}`, "--socket", brokers[1]?.socket ?? "", ...secondArgs];
    const again = spawn(process.execPath, [join(packageRoot, "packages/web/dist/server/main.js"), ...options], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    onTestFinished(() => void again.kill("SIGKILL"));
    await expect.poll(async () => (await overview()).hosts[1]?.unreachableSince, { timeout: 40_000 }).toBeNull();
    expect(first.log()).toMatch(/peer h2 at \S+ does not answer: .*\n.*peer h2 answers/s);
  });
});

const tls = { ca: undefined, cert: undefined, key: undefined };
const spark = Array.from({ length: 48 }, () => null);
const host = madeUpHost("theirs", { spark });
const state: Overview = { at: 1, hosts: [host], berths: [madeUpBerth("theirs", "arena", { spark })] };

/** A peer that answers as told, and what is seen of it. */
async function peerThat(answers: (request: IncomingMessage, response: ServerResponse) => void) {
  const http = createServer(answers);
  await once(http.listen(0, "127.0.0.1"), "listening");
  const said: string[] = [];
  const told: StreamTimeline[] = [];
  const address = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;
  const peers = new Peers([{ name: "h2", address, token: undefined }], tls, {
    say: (message) => said.push(message),
    timeline: (happened) => told.push(happened),
  });
  peers.start();
  const [peer] = peers.all;
  if (peer === undefined) throw new Error("no peer");
  onTestFinished(async () => {
    await peers.close();
    http.close();
    http.closeAllConnections();
  });
  return { peers, peer, said, told };
}

function events(response: ServerResponse, ...list: readonly (readonly [string, unknown])[]): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const [name, data] of list) response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

const berth = state.berths[0];

describe("a hostile peer", () => {
  it.each<[string, unknown]>([
    ["a state without berths", { ...state, berths: undefined }],
    ["a berth of an unknown state", { ...state, berths: [{ ...berth, state: "dancing" }] }],
    ["text that ends a line", { ...state, berths: [{ ...berth, cause: "x\ncurl evil | sh" }] }],
    ["text that turns the direction", { ...state, berths: [{ ...berth, map: "\u202egnp.exe" }] }],
    ["a very long text", { ...state, berths: [{ ...berth, map: "x".repeat(5000) }] }],
    ["no host", { ...state, hosts: [] }],
    ["a time that no Date takes", { ...state, hosts: [{ ...host, up: 1e300 }] }],
    [
      "too many berths",
      { ...state, berths: Array.from({ length: 10_001 }, (_, at) => ({ ...berth, name: `b${at}` })) },
    ],
    ["a number", 5],
  ])("%s is not taken, and the log says why", async (_, data) => {
    const { peer, said } = await peerThat((_, response) => events(response, ["state", data]));
    await vi.waitFor(() => expect(said[0]).toMatch(/^peer h2 at \S+ does not answer: it is not understood: /), 30_000);
    expect(peer.rows).toEqual([]);
    expect(peer.host).toMatchObject({ id: "h2", unreachableSince: expect.any(Number) });
  });

  it("speaks for no other host, and names none", async () => {
    const others = [madeUpBerth("h1", "stolen", { spark }), madeUpBerth("h3", "stolen", { spark })];
    const { peer, told } = await peerThat((_, response) =>
      events(
        response,
        ["state", { ...state, hosts: [host, madeUpHost("h1")], berths: [...state.berths, ...others] }],
        ["patch", { at: 2, hosts: [madeUpHost("h3")], berths: others, removed: [{ host: "h1", name: "x" }] }],
        ["timeline", { host: "h1", name: "x", event: { at: 1, kind: "crash", text: "x", detail: null } }],
        ["timeline", { host: "theirs", name: "arena", event: { at: 1, kind: "crash", text: "y", detail: null } }],
      ),
    );
    await vi.waitFor(() => expect(told).toHaveLength(1), 30_000);
    expect(told[0]).toMatchObject({ host: "h2", name: "arena" });
    expect(peer.rows.map(({ host: of, name }) => [of, name])).toEqual([["h2", "arena"]]);
    expect(peer.host.id).toBe("h2");
  });

  it("a newer one may say more, and its rows change field by field", async () => {
    const { peer } = await peerThat((_, response) =>
      events(
        response,
        ["state", { ...state, weather: "fine", berths: [{ ...berth, shoes: 2 }] }],
        ["patch", { at: 2, hosts: [], berths: [{ host: "theirs", name: "arena", players: 7 }], removed: [] }],
      ),
    );
    await vi.waitFor(() => expect(peer.rows[0]?.players).toBe(7), 30_000);
    expect(peer.rows[0]).toEqual({ ...berth, host: "h2", players: 7 });
  });

  it("whose list takes long to read is not taken for silent in the pause that follows", async () => {
    let streams = 0;
    const berths = Array.from({ length: 2_000 }, (_, at) => ({ ...berth, name: `b${at}` }));
    let stream: ServerResponse | undefined;
    const http = createServer((_, response) => {
      streams++;
      stream = response;
      events(response, ["state", { ...state, berths }]);
    });
    await once(http.listen(0, "127.0.0.1"), "listening");
    const address = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;
    const client = new PeerClient({ name: "h2", address, token: undefined }, tls, 1500);
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const { event = "", data } of client.events(stop.signal)) {
      seen.push(event);
      if (event === "ping") break;
      // As long as it would take to check them on a slow machine: nine times as long is waited after it.
      const until = performance.now() + 200;
      while (performance.now() < until) JSON.parse(data);
      stream?.write(`event: ping\ndata: {"at":1}\n\n`); // the reader waits longer than it lets a peer be silent
    }
    expect(seen).toEqual(["state", "ping"]);
    expect(streams).toBe(1);
    client.close();
    http.close();
    http.closeAllConnections();
  });

  it.each([
    ["a number that JSON cannot write again", `{"at":1e999,"hosts":[],"berths":[]}`, "at is too large"],
    ["carriage returns, which take the parser long", "1\r", "carriage returns"],
    ["a list with more entries than a host has berths", `[${"1,".repeat(20_000)}1]`, "too many entries"],
  ])("%s is not taken", async (_, data, why) => {
    const { said } = await peerThat((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(`event: state\ndata: ${data}\n\n`);
    });
    await vi.waitFor(() => expect(said[0]).toContain(why), 30_000);
  });

  it("adds berths for ever, and is stopped at as many as a host may have", async () => {
    const { peer, said } = await peerThat((_, response) => {
      events(response, ["state", { ...state, berths: [] }]);
      for (let part = 0; part < 6; part++) {
        const berths = Array.from({ length: 2_000 }, (_, at) => ({ ...berth, name: `b${part}.${at}` }));
        response.write(`event: patch\ndata: ${JSON.stringify({ at: 2, hosts: [], berths, removed: [] })}\n\n`);
      }
    });
    await vi.waitFor(() => expect(said[0]).toMatch(/more than 10000 berths/), 40_000);
    expect(peer.rows.length).toBeLessThanOrEqual(10_001);
  });

  it("has berths with long names of images, and is stopped at as much text as all may have", async () => {
    const outdated = { image: "x".repeat(4_000), configuration: false };
    const { peer, said } = await peerThat((_, response) => {
      events(response, ["state", { ...state, berths: [] }]);
      for (let part = 0; part < 5; part++) {
        const berths = Array.from({ length: 1_000 }, (_, at) => ({ ...berth, outdated, name: `b${part}.${at}` }));
        response.write(`event: patch\ndata: ${JSON.stringify({ at: 2, hosts: [], berths, removed: [] })}\n\n`);
      }
    });
    await vi.waitFor(() => expect(said[0]).toContain("too much text"), 40_000);
    expect(peer.rows.length).toBeLessThan(5_000);
  });

  it("an event without an end is cut off", async () => {
    const { said } = await peerThat((_, response) => {
      events(response);
      const block = `data: ${"x".repeat(65_536)}\n`;
      const fill = (): void => {
        while (response.write(block));
        response.once("drain", fill);
      };
      fill();
    });
    await vi.waitFor(() => expect(said[0]).toContain("larger than 8 MiB"), 30_000);
  });

  it("thousands of events a second are taken twenty a second", async () => {
    let players = 0;
    const { peer } = await peerThat((_, response) => {
      events(response, ["state", state]);
      for (; players < 5_000; players++) {
        const patch = { at: 2, hosts: [], berths: [{ host: "theirs", name: "arena", players }], removed: [] };
        response.write(`event: patch\ndata: ${JSON.stringify(patch)}\n\n`);
      }
    });
    // All 5,000 would take no 100 ms.
    const began = performance.now();
    await vi.waitFor(() => expect(peer.rows[0]?.players ?? 0).toBeGreaterThan(20), 30_000);
    expect(performance.now() - began).toBeGreaterThan(800);
    expect(peer.rows[0]?.players).toBeLessThan(1_000);
  });

  it("an answer of another shape, size or status is none", async () => {
    let answer: [number, string] = [200, "{}"];
    const { peers, peer } = await peerThat((request, response) => {
      if (request.url === "/api/v1/events") return events(response, ["state", state]);
      response.writeHead(answer[0], { location: "http://127.0.0.1:1/" }).end(answer[1]);
    });
    await vi.waitFor(() => expect(peer.rows).toHaveLength(1), 30_000);
    const detail = () => peers.berth("h2", "arena", undefined, new URLSearchParams());
    for (const [status, text] of [
      [200, "{}"],
      [200, "[".repeat(100_000)],
      [200, `"${"x".repeat(MAX_BYTES)}"`],
      [200, "no JSON"],
      [302, "elsewhere"],
      [500, "no JSON"],
      // That this page has no token is no news for its reader.
      [401, JSON.stringify({ error: { code: "denied", message: "a token is needed" } })],
    ] as const) {
      answer = [status, text];
      expect([text.slice(0, 20), (await detail()).status]).toEqual([text.slice(0, 20), 502]);
    }
    answer = [200, JSON.stringify({ ...madeUpDetail(madeUpBerth("theirs", "arena")), publicPage: "/p/arena" })];
    const { body } = await detail();
    expect(JSON.parse(String(body.bytes))).toMatchObject({ host: "h2", publicPage: `${peer.place.address}p/arena` });
    answer = [404, JSON.stringify({ error: { code: "not-found", message: "there is no such berth" } })];
    expect((await detail()).status).toBe(404);
  });
});

describe("the thread of the peers", () => {
  /** A peer whose stream goes on as told, on a page of its own. */
  async function pageOf(stream: (response: ServerResponse) => void): Promise<WebProcess> {
    const http = createServer((_, response) => stream(response));
    await once(http.listen(0, "127.0.0.1"), "listening");
    const web = await startWeb("/nowhere", ["--peer", `h2=http://127.0.0.1:${(http.address() as AddressInfo).port}`]);
    onTestFinished(async () => {
      await web[Symbol.asyncDispose]();
      http.close();
      http.closeAllConnections();
    });
    return web;
  }

  it("reads what takes seconds while the page answers", async () => {
    const keys = Object.fromEntries(Array.from({ length: 150_000 }, (_, at) => [`key${at}`, at]));
    const patch = `event: patch\ndata: ${JSON.stringify({ at: 1, hosts: [], berths: [], removed: [], ...keys })}\n\n`;
    let sent = 0;
    const web = await pageOf((response) => {
      events(response, ["state", state]);
      const fill = (): void => {
        response.once("drain", () => {
          sent++;
          fill();
        });
        response.write(patch);
      };
      fill();
    });
    await vi.waitFor(async () => {
      expect((await askJson<Overview>(web, "/api/v1/overview")).berths).toHaveLength(1);
    }, 30_000);
    const began = performance.now();
    for (let count = 0; count < 20; count++) expect((await ask(web, "/healthz")).status).toBe(503);
    // In one thread each would wait for a patch or more.
    expect(performance.now() - began).toBeLessThan(10_000);
    await vi.waitFor(() => expect(sent).toBeGreaterThan(1), 30_000);
  });

  it("tells pages sixty events of a berth in a minute, by this host's clock", async () => {
    const minute = (): number => Math.floor(Date.now() / 60_000);
    const first = minute();
    const web = await pageOf((response) => {
      const crashes = Array.from({ length: 70 }, (_, at) => {
        const event = { at: at * 3_600_000, kind: "crash", text: `${at}`, detail: null };
        return ["timeline", { host: "theirs", name: "arena", event }] as const;
      });
      const last = { host: "theirs", name: "arena", players: 99 };
      events(response, ["state", state], ...crashes, ["patch", { at: 2, hosts: [], berths: [last], removed: [] }]);
    });
    using stream = new EventStream(web.port);
    await stream.until(({ name, data }) => name !== "timeline" && JSON.stringify(data).includes('"players":99'));
    // A minute may have ended meanwhile: then one event more counts those that were left out in it.
    const minutes = minute() - first + 1;
    const told = stream.events.filter(({ name }) => name === "timeline").length;
    expect(told).toBeGreaterThanOrEqual(60);
    expect(told).toBeLessThanOrEqual(61 * minutes - 1);
  });

  it("is started again when it ends, and what was known stays", async () => {
    using folder = new TestFolder({
      "thread.mjs": `import { existsSync, writeFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
const { host, row, ran } = workerData.told;
const isFirst = !existsSync(ran);
writeFileSync(ran, "");
parentPort.postMessage({ kind: "host", host: isFirst ? host : { ...host, version: "2" }, hasAnswered: true });
parentPort.postMessage({ kind: "rows", host: "h2", isAll: true, changed: [row], removed: [] });
parentPort.on("message", () => { throw new Error("out of memory"); });
`,
    });
    const said: string[] = [];
    const start = {
      places: [{ name: "h2", address: "http://127.0.0.1:1/", token: undefined }],
      tls,
      told: { host: { ...host, id: "h2" }, row: { ...berth, host: "h2" }, ran: join(folder.path, "ran") },
    };
    const program = join(folder.path, "thread.mjs");
    const peers = new PeersThread(start, { say: (message) => said.push(message), timeline: () => undefined }, program);
    peers.start();
    onTestFinished(() => peers.close());
    await vi.waitFor(() => expect(peers.rows).toHaveLength(1), 30_000);
    const answer = await peers.berth("h2", "arena", undefined, new URLSearchParams());
    expect([answer.status, String(answer.body.bytes)]).toEqual([502, expect.stringContaining("has ended")]);
    expect(said).toEqual(["the thread that reads peers has ended: out of memory"]);
    expect(peers.hosts[0]).toMatchObject({ version: host.version, unreachableSince: expect.any(Number) });
    expect(peers.rows).toHaveLength(1);
    expect((await peers.quiet("h2", null)).status).toBe(502);
    await vi.waitFor(() => expect(peers.hosts[0]).toMatchObject({ version: "2", unreachableSince: null }), 30_000);
  });
});

describe("the options for peers", () => {
  it.each([
    [["--peer", "h2"], "write NAME=ADDRESS"],
    [["--peer", "h2=h2.example:9115"], "write NAME=ADDRESS"],
    [["--peer", "h2=unix:web.sock"], "an absolute path"],
    [["--peer", "h2=https://me:secret@h2.example"], "--peer-token-file"],
    [["--peer", "h2=http://a", "--peer", "h2=http://b"], "names two hosts"],
    [["--peer", `${hostname().split(".")[0]}=http://a`], "this host's own name"],
    [["--peer", "h2=http://localhost:9115", "--peer-token-file", "h2=x"], "any program that listens there"],
    [["--peer", "h2=https://a", "--peer-token-file", "x"], "names no peer"],
    [["--peer", "h2=https://a", "--peer-token-file", "h3=x"], "needs --peer h3=…"],
    [["--peer", "h2=https://a", "--peer-cert", "x"], "go together"],
    [["--peer-ca", "x"], "need --peer"],
  ])("%j is refused: %s", async (args, why) => {
    const { code, err } = await runWeb(args);
    expect([code, err]).toEqual([100, expect.stringContaining(why)]);
  });

  it("names the file that it cannot read", async () => {
    const { code, err } = await runWeb(["--peer", "h2=https://a", "--peer-ca", "/nowhere/ca.pem"]);
    expect([code, err]).toEqual([111, expect.stringContaining("--peer-ca /nowhere/ca.pem cannot be read")]);
  });
});
