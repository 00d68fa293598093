/** What a host leaves of an image that it cannot get, and whom it asks then. Between real stores. */
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ImageFetches } from "../../../packages/fleet/src/agent/images/fetches.ts";
import { Slots } from "../../../packages/fleet/src/agent/images/slots.ts";
import { Fault } from "../../../packages/fleet/src/fault.ts";
import type { Assignment } from "../../../packages/fleet/src/model/placement.ts";
import { type Archive, ChunkStore, storeServer } from "../../../packages/fleet/src/store/index.ts";
import { TestFolder } from "../../support/broker.ts";
import { Certificates } from "../../support/fleet/certificates.ts";
import { pieces, randomBytes } from "../../support/fleet/world.ts";
import { needs } from "../../support/needs.ts";

const MIB = 1024 * 1024;
const SOON = { timeout: 60_000, interval: 20 };
const never = new AbortController().signal;
const arena = { name: "arena", version: "2.1", digest: `sha256:${"a".repeat(64)}` };

describe("an image that another host has", { ...needs("casync", "openssl"), timeout: 90_000 }, () => {
  let certificates: Certificates;
  let folder: TestFolder;
  let there: ChunkStore;
  let here: ChunkStore;
  let archive: Archive;
  let servers: Server[];
  let said: string[];
  /** What this host has. */
  let images: (typeof arena)[];
  let refusal: Error | undefined;
  let stop: AbortController;
  let running: Promise<void>;
  let fetches: ImageFetches;
  /** Chunks that a {@link slow} host was asked for. */
  let waiting: number;

  beforeEach(async () => {
    certificates = new Certificates("h1", "h2", "h3");
    folder = new TestFolder();
    there = new ChunkStore(join(folder.path, "there"), 64 * MIB);
    here = new ChunkStore(join(folder.path, "here"), 64 * MIB);
    archive = await there.add("image-arena@2.1", pieces(randomBytes(1, 2 * MIB)), never);
    [servers, said, images, refusal, waiting] = [[], [], [], undefined, 0];
    stop = new AbortController();
    const state = {
      upload: async (_: object, content: AsyncIterable<Buffer>) => {
        for await (const piece of content) expect(piece.length).toBeGreaterThan(0);
        if (refusal !== undefined) throw refusal;
        images.push(arena);
      },
    };
    const stock = { look: async () => images.map((one) => ({ ...one, bytes: 1 })), has: () => images.length > 0 };
    fetches = new ImageFetches(
      { store: here, tls: certificates.tls("h2"), state, images: stock, longestMs: 500 },
      () => undefined,
      (sentence) => void said.push(sentence),
    );
    running = fetches.run(stop.signal);
    vi.spyOn(Math, "random").mockReturnValue(0); // the first host comes first
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    stop.abort();
    await running;
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    folder[Symbol.dispose]();
    certificates[Symbol.dispose]();
  });

  async function listening(server: Server): Promise<string> {
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }
  const good = () =>
    listening(storeServer(there, certificates.tls("h1"), () => undefined, { archiveOf: async () => archive }));
  /** It has the image, and sends no chunk. */
  const slow = () =>
    listening(
      createServer({ ...certificates.tls("h3"), requestCert: true }, ({ url = "" }, response) => {
        const answer = url.startsWith("/images/")
          ? Buffer.from(JSON.stringify(archive))
          : url.startsWith("/indexes/") && readFileSync(there.indexPath(archive.name));
        if (answer) response.writeHead(200, { "content-length": answer.length }).end(answer);
        else waiting++;
      }),
    );
  const berthFrom = (...sources: readonly [string, string][]): Assignment => ({
    ...{ berth: "a-1", generation: 1, config: {} },
    images: [{ ...arena, bytes: 2 * MIB, sources: sources.map(([host, store]) => ({ host, store })) }],
  });
  const left = (): string[] =>
    ["fetched", "indexes", "work"].flatMap((room) =>
      readdirSync(join(folder.path, "here", room), { recursive: true, encoding: "utf8" }).filter((one) =>
        one.includes("."),
      ),
    );

  it("is got from the next host if one takes long, and that is no failure", async () => {
    const berth = berthFrom(["h3", await slow()], ["h1", await good()]);
    fetches.wanted = [berth];
    await expect.poll(() => fetches.reportOf(berth)?.why, SOON).toContain("h3 has not sent all in 0.5 s");
    await expect.poll(() => fetches.isReady(berth), SOON).toBe(true);
    expect(waiting).toBeGreaterThan(0);
    expect(said.at(-1)).toMatch(/^image arena@2\.1 is here, from h1: /);
  });

  it("leaves nothing if it is another one, or if nobody wants it any more", async () => {
    refusal = new Fault("BAD_ARCHIVE", "another digest is wanted");
    const berth = berthFrom(["h1", await good()]);
    fetches.wanted = [berth];
    await expect.poll(() => fetches.reportOf(berth), SOON).toMatchObject({ state: "problem" });
    expect(left()).toEqual([]);
    fetches.wanted = [];
    const [chunk = ""] = (await there.index(archive.name)).chunks;
    fetches.wanted = [berthFrom(["h3", await slow()])];
    await expect.poll(() => waiting, SOON).toBeGreaterThan(0);
    await here
      .take(archive, readFileSync(there.indexPath(archive.name)), async (_, put) => {
        await put(chunk, Buffer.from("half"));
        throw new Error("it has gone");
      })
      .catch(() => undefined);
    expect(left().length).toBe(1);
    fetches.wanted = [];
    await expect.poll(left, SOON).toEqual([]);
  });

  it("is asked for after others of that host: it makes one archive at a time", async () => {
    const asked = new Set<string>();
    const shelf = {
      archiveOf: async ({ name }: { readonly name: string }) => {
        asked.add(name);
        return "making" as const;
      },
    };
    const store = await listening(storeServer(there, certificates.tls("h1"), () => undefined, shelf));
    const all = Array.from({ length: 50 }, (_, at) => {
      const [image] = berthFrom(["h1", store]).images ?? [];
      return { ...berthFrom(), berth: `a-${at + 1}`, images: image ? [{ ...image, name: `arena${at}` }] : [] };
    });
    fetches.wanted = all;
    await expect.poll(() => asked.size, SOON).toBe(2);
    fetches.wanted = all.slice(2);
    await expect.poll(() => asked.size, SOON).toBe(4);
    expect([...asked].sort()).toEqual(["arena0", "arena1", "arena2", "arena3"]);
  });

  it("is got again if it was removed before the berth begins", async () => {
    const berth = berthFrom(["h1", await good()]);
    fetches.wanted = [berth];
    await expect.poll(() => fetches.isReady(berth), SOON).toBe(true);
    fetches.look();
    expect(fetches.isReady(berth)).toBe(true);
    images.length = 0;
    fetches.look();
    expect(fetches.isReady(berth)).toBe(false);
    await expect.poll(() => fetches.isReady(berth), SOON).toBe(true);
    expect(said.filter((one) => one.includes("is here, from h1"))).toHaveLength(2);
  });
});

it("what waits for a slot can leave, and the next one gets it", async () => {
  const slots = new Slots(1);
  let free: () => void = () => undefined;
  const first = slots.inTurn(() => new Promise<void>((resolve) => (free = resolve)), never);
  const gone = new AbortController();
  const second = slots.inTurn(async () => "second", gone.signal);
  const third = slots.inTurn(async () => "third", never);
  gone.abort(new Error("nobody wants it"));
  await expect(second).rejects.toThrow("nobody wants it");
  free();
  await first;
  expect(await third).toBe("third");
  expect(await slots.inTurn(async () => "fourth", never)).toBe("fourth");
});
