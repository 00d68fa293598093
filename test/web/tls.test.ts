/** berth-web with certificates: who has one of the authority reads, and nobody else. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type RequestOptions, request } from "node:https";
import { connect as connectTcp, type Socket } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { Host, Overview } from "../../packages/web/src/api/shapes.ts";
import { jsonAnswer, jsonBody } from "../../packages/web/src/http/answer.ts";
import { limits } from "../../packages/web/src/http/limits.ts";
import { httpServer, type Routes } from "../../packages/web/src/http/server.ts";
import { Streams } from "../../packages/web/src/http/streams.ts";
import { TestFolder } from "../support/broker.ts";
import { needs, pathOf } from "../support/needs.ts";
import { askJson, runWeb, startWeb, type WebProcess } from "../support/web/web-process.ts";

/** Resolves when the server has closed it. */
async function closedBy(socket: Socket): Promise<void> {
  socket.on("error", () => undefined).resume();
  await once(socket, "close");
}

describe("berth-web with --client-ca", needs("openssl"), () => {
  const folder = new TestFolder();
  const at = (name: string): string => join(folder.path, name);
  let web: WebProcess;

  /** A key and a certificate for a name, by the authority, or by itself. */
  function certify(name: string, by?: string): void {
    const signed = by === undefined ? [] : ["-CA", at(`${by}.pem`), "-CAkey", at(`${by}.key`)];
    const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    const made = spawnSync(
      pathOf("openssl"),
      [...args, ...signed, "-subj", `/CN=${name}`, "-keyout", at(`${name}.key`), "-out", at(`${name}.pem`)],
      { encoding: "utf8" },
    );
    if (made.status !== 0) throw new Error(made.stderr);
  }

  beforeAll(async () => {
    certify("authority");
    certify("localhost", "authority");
    certify("reader", "authority");
    certify("stranger");
    const tls = [
      "--tls-cert",
      at("localhost.pem"),
      "--tls-key",
      at("localhost.key"),
      "--client-ca",
      at("authority.pem"),
    ];
    web = await startWeb(at("no-broker.sock"), tls);
  }, 60_000);
  afterAll(async () => {
    await web?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  async function ask(who: RequestOptions): Promise<[number | undefined, string]> {
    const sent = request({
      ...{ host: "127.0.0.1", port: web.port, path: "/api/v1/overview", servername: "localhost", agent: false },
      ...{ ca: readFileSync(at("authority.pem")), checkServerIdentity: () => undefined },
      ...who,
    });
    sent.end();
    const [response] = await once(sent, "response");
    return [response.statusCode, await text(response)];
  }

  const as = (name: string): RequestOptions => ({
    cert: readFileSync(at(`${name}.pem`)),
    key: readFileSync(at(`${name}.key`)),
  });

  it("lets a client with a certificate of the authority read", async () => {
    expect(await ask(as("reader"))).toEqual([200, expect.stringContaining('"berths":[]')]);
  });

  it("refuses a client without one, or with one that it made itself", async () => {
    await expect(ask({})).rejects.toThrow(/alert|ECONNRESET|socket hang up|EPIPE/i);
    await expect(ask(as("stranger"))).rejects.toThrow(/alert|ECONNRESET|socket hang up|EPIPE/i);
  });

  it("shows a peer that asks for a certificate, if both are of the authority", { timeout: 60_000 }, async () => {
    const hostOf = async (ca: string, own: string): Promise<[Host | undefined, string]> => {
      const peer = ["--peer", `h2=https://localhost:${web.port}`, "--peer-ca", at(`${ca}.pem`)];
      const proof = ["--peer-cert", at(`${own}.pem`), "--peer-key", at(`${own}.key`)];
      await using page = await startWeb(at("no-broker.sock"), [...peer, ...proof]);
      const overview = (): Promise<Overview> => askJson(page, "/api/v1/overview");
      await vi.waitFor(async () => {
        const known = (await overview()).hosts[1]?.name !== "localhost";
        expect(known || page.log().includes("peer h2 at")).toBe(true);
      }, 30_000);
      return [(await overview()).hosts[1], page.log()];
    };
    expect(await hostOf("authority", "reader")).toEqual([
      expect.objectContaining({ id: "h2", name: hostname() }),
      expect.not.stringContaining("peer h2"),
    ]);
    const away = expect.objectContaining({ id: "h2", name: "localhost" });
    expect(await hostOf("stranger", "reader")).toEqual([away, expect.stringMatching(/peer h2 at .*certificate/)]);
    expect(await hostOf("authority", "stranger")).toEqual([away, expect.stringMatching(/peer h2 at .* not answer/)]);
  });

  /** The server itself, with short limits. */
  async function serve(): Promise<{ readonly port: number; readonly streams: Streams } & Disposable> {
    const short = { ...limits, idleMs: 1000 };
    const streams = new Streams(short);
    const routes: Routes = {
      isPublic: () => true,
      answer: async () => jsonAnswer(jsonBody("answer")),
      stream: (_path, response, address) => streams.add(response, address, () => streams.event("state", "{}")),
    };
    const [cert, key] = [readFileSync(at("localhost.pem")), readFileSync(at("localhost.key"))];
    const server = httpServer({ hostNames: [], token: undefined, limits: short }, routes, { cert, key, ca: undefined });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no port");
    const dispose = (): void => {
      streams.close();
      server.close();
      server.closeAllConnections();
    };
    return { port: address.port, streams, [Symbol.dispose]: dispose };
  }

  it("keeps a stream on which nothing happens for longer than a connection may be idle", async () => {
    using served = await serve();
    const stream = connectTls(served.port, { rejectUnauthorized: false });
    stream.write("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await once(stream, "data");
    // Connections that came later are idle as long as this one, and longer than they may be.
    for (let count = 0; count < 2; count++) await closedBy(connectTls(served.port, { rejectUnauthorized: false }));
    expect([served.streams.count, stream.closed]).toEqual([1, false]);
    stream.destroy();
    await vi.waitFor(() => expect(served.streams.count).toBe(0), 30_000);
  });

  it("closes a connection that makes no handshake, and one that asks nothing after it", async () => {
    using served = await serve();
    await closedBy(connectTcp(served.port, "127.0.0.1"));
    await closedBy(connectTls(served.port, { rejectUnauthorized: false }));
  });

  it("says which file it cannot read", async () => {
    const args = ["--listen", "127.0.0.1:0", "--tls-cert", at("absent.pem"), "--tls-key", at("localhost.key")];
    const { code, err } = await runWeb([...args, "--json"]);
    expect([code, JSON.parse(err)]).toMatchObject([
      111,
      { error: "FILE_UNREADABLE", message: expect.stringMatching(/--tls-cert .*absent\.pem cannot be read/) },
    ]);
  });
});
