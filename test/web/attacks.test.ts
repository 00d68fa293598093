/** A stranger on the port of berth-web: gets nothing, holds up nobody, and costs a bounded amount of memory. */
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { connect as connectTcp, type Socket } from "node:net";
import { join } from "node:path";
import { connect } from "berthd";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Overview } from "../../packages/web/src/api/shapes.ts";
import { type BrokerProcess, spawnBroker } from "../support/broker.ts";
import { ask, askJson, type Reply, runWeb, startWeb, type WebProcess } from "../support/web/web-process.ts";

const ATTACKER = "127.0.0.2";
const MiB = 2 ** 20;
const isRoot = process.getuid?.() === 0;
const berths = 500;
const files = Object.fromEntries(
  Array.from({ length: berths }, (_, at) => [
    `b${at}.toml`,
    `[sockets.game]\nlisten = ["unix-dgram:///run/berthd-attack-${process.pid}-${at}.sock"]\n[server]\ncommand = ["sleep", "600"]\n${isRoot ? 'user = "nobody"' : ""}\n`.replaceAll(
      "unix-dgram:///run/",
      "unix-dgram://@",
    ),
  ]),
);

/** Milliseconds that the requests of somebody else take meanwhile, the longest. */
async function slowestWhile(web: WebProcess, attack: Promise<unknown>): Promise<number> {
  let ended = false;
  const over = attack.finally(() => {
    ended = true;
  });
  let slowest = 0;
  while (!ended) {
    const begun = performance.now();
    expect((await ask(web, "/api/v1/overview")).status).toBe(200);
    slowest = Math.max(slowest, performance.now() - begun);
  }
  await over;
  return slowest;
}

function residentBytes(pid: number | undefined): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

/** Resolves when it has been closed, by whatever. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once("close", () => resolve())));
}

/** An attacker's connection, which has sent that much. Undefined where it was refused. */
async function attackConnection(port: number, text: string): Promise<Socket | undefined> {
  const socket = connectTcp({ host: "127.0.0.1", port, localAddress: ATTACKER });
  socket.on("error", () => undefined);
  await Promise.race([new Promise((resolve) => socket.once("connect", resolve)), closed(socket)]);
  if (socket.destroyed) return undefined;
  socket.write(text);
  return socket;
}

describe("an attacker on the port of berth-web", { timeout: 120_000 }, () => {
  let broker: BrokerProcess;
  let web: WebProcess;
  const token = "a token of more than 16 characters";

  beforeAll(async () => {
    broker = await spawnBroker(files);
    web = await startWeb(broker.socket, ["--history", join(broker.folder.path, "history.db")]);
    await vi.waitFor(
      async () => expect((await askJson<Overview>(web, "/api/v1/overview")).berths).toHaveLength(berths),
      60_000,
    );
  }, 120_000);
  afterAll(async () => {
    await web?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });

  it("gets nothing without the token but what is public, and everything with it", async () => {
    const file = join(broker.folder.path, "token");
    writeFileSync(file, `${token}\n`);
    await using guarded = await startWeb(broker.socket, ["--token-file", file, "--public", "b1=B one"]);
    const get = (path: string, authorization?: string): Promise<Reply> =>
      ask(guarded, path, { headers: authorization === undefined ? {} : { authorization } });
    for (const path of ["/", "/metrics", "/api/v1/overview", "/api/v1/events", "/api/v1/nothing"]) {
      const reply = await get(path);
      expect([path, reply.status, reply.headers["www-authenticate"]]).toEqual([
        path,
        401,
        expect.stringMatching(/Basic/),
      ]);
      expect(reply.body).not.toContain("b1");
    }
    expect((await get("/api/v1/overview", "Bearer of something else")).status).toBe(401);
    await vi.waitFor(async () => expect((await get("/healthz")).status).toBe(200), 30_000);
    await vi.waitFor(async () => expect((await get("/api/v1/public/b1")).status).toBe(200), 30_000);
    expect((await get("/api/v1/public/b2")).status).toBe(404);
    expect((await get("/api/v1/overview", `Bearer ${token}`)).status).toBe(401); // it has spaces
    const password = `Basic ${Buffer.from(`me:${token}`).toString("base64")}`;
    await vi.waitFor(async () => expect((await get("/api/v1/overview", password)).body).toContain('"b499"'), 30_000);
  });

  it("finds no server that others reach without a token", async () => {
    const refused = await runWeb(["--listen", "0.0.0.0:0", "--json"]);
    expect([refused.code, JSON.parse(refused.err)]).toMatchObject([100, { error: "UNSAFE_ADDRESS" }]);
    const short = join(broker.folder.path, "short");
    writeFileSync(short, "secret");
    const weak = await runWeb(["--listen", "0.0.0.0:0", "--token-file", short]);
    expect([weak.code, weak.err]).toEqual([100, expect.stringMatching(/shorter than 16.*openssl rand/)]);
    expect((await runWeb([])).err).toMatch(/no socket was passed; .*berth run web/);
  });

  it("cannot use a browser of somebody else by a name that points here", async () => {
    for (const host of ["evil.example", "127.0.0.1.evil.example:80"]) {
      const { status, body } = await ask(web, "/api/v1/overview", { headers: { host } });
      expect([host, status]).toEqual([host, 421]);
      expect(body).not.toContain("b1");
    }
  });

  it.each([
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/page.js/../../../package.json",
    "/api/v1/berths/vm/..%2f..%2f/series",
    "/p/../index.html",
    "/package.json",
    "/server/main.js",
  ])("finds no file at %s", async (path) => {
    const { status, body } = await ask(web, path);
    expect([400, 404]).toContain(status);
    expect(body).not.toMatch(/root:|berthd-web/);
  });

  it("can only read: no method but GET and HEAD, and no body", async () => {
    const statuses = ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"].map(
      async (method) => (await ask(web, "/api/v1/overview", { method })).status,
    );
    expect(new Set(await Promise.all(statuses))).toEqual(new Set([405]));
    const { status } = await ask(web, "/", { headers: { "content-length": "5" } }).catch(() => ({ status: 413 }));
    expect(status).toBe(413);
    const head = await ask(web, "/api/v1/overview", { method: "HEAD" });
    expect([head.status, head.body]).toEqual([200, ""]);
  });

  it("cannot run a script by what a server calls its map: it stays text, and nothing sniffs it", async () => {
    const map = `<script>alert(1)</script>"><img src=x onerror=alert(1)>`;
    await using tenant = await startTenant(broker, "b7");
    const client = await connect({ socket: broker.socket });
    await client.report("b7", { players: 3, max: 8, map });
    client.close();
    await vi.waitFor(async () => {
      const { berths: rows } = await askJson<Overview>(web, "/api/v1/overview");
      expect(rows.find(({ name }) => name === "b7")).toMatchObject({ players: 3, slots: 8, map });
    }, 30_000);
    const { headers } = await ask(web, "/api/v1/overview");
    expect(headers).toMatchObject({
      "content-type": "application/json",
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    });
    const { headers: page } = await ask(web, "/");
    expect(page["content-security-policy"]).toMatch(/^default-src 'none'; script-src 'self'/);
    expect(page["content-security-policy"]).not.toContain("unsafe");
    expect((await ask(web, "/metrics")).body).not.toContain("alert(1)");
    await tenant[Symbol.asyncDispose]();
  });

  it("with requests that never end holds up nobody, and is thrown out", async () => {
    const opened = await Promise.all(
      Array.from({ length: 400 }, () => attackConnection(web.port, "GET /api/v1/overview HTTP/1.1\r\nHost: loc")),
    );
    const held = opened.filter((socket) => socket !== undefined);
    const drip = setInterval(() => {
      for (const socket of held) if (!socket.destroyed) socket.write("a");
    }, 200);
    const gone = Promise.all(held.map(closed));
    const slowest = await slowestWhile(web, gone);
    clearInterval(drip);
    expect(slowest).toBeLessThan(2_000);
  });

  it("with 10,000 streams holds up nobody: it gets its share, and the rest is refused", async () => {
    const sockets: Socket[] = [];
    const attack = async (): Promise<void> => {
      for (let round = 0; round < 40; round++) {
        const opened = await Promise.all(
          Array.from({ length: 250 }, () =>
            attackConnection(web.port, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"),
          ),
        );
        // It reads nothing of what comes.
        for (const socket of opened) if (socket !== undefined) sockets.push(socket.pause());
      }
    };
    const slowest = await slowestWhile(web, attack());
    expect(slowest).toBeLessThan(3_000);
    const streams = Number(/^berthd_web_streams (\d+)$/m.exec((await ask(web, "/metrics")).body)?.[1]);
    expect(streams).toBeGreaterThan(0);
    expect(streams).toBeLessThanOrEqual(128);
    // Somebody else still gets one.
    const [response] = await once(get({ port: web.port, path: "/api/v1/events", agent: false }), "response");
    const [first] = await once(response, "data");
    expect([response.statusCode, String(first)]).toEqual([200, expect.stringContaining("event: state")]);
    response.destroy();
    expect(residentBytes(web.child.pid) / MiB).toBeLessThan(150);
    for (const socket of sockets) socket.destroy();
    await vi.waitFor(async () => expect((await ask(web, "/metrics")).body).toMatch(/^berthd_web_streams 0$/m), 30_000);
  });
});

/** A tenant of a berth: somebody can play only where there is one. */
async function startTenant(broker: BrokerProcess, berth: string) {
  const client = await connect({ socket: broker.socket });
  using reply = await client.call("io.berthd.Broker.Acquire", { berth });
  const lease = String(reply.parameters["lease"]);
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      if (client.closed) return;
      (await client.call("io.berthd.Broker.Release", { lease }))[Symbol.dispose]();
      client.close();
    },
  };
}
