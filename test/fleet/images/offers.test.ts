/** Images that one agent asks of another: who gets them, and how often an archive is made. Between two real stores. */
import { once } from "node:events";
import { readdirSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import type { Server } from "node:https";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StateRequest } from "../../../packages/fleet/src/agent/copies/state-socket.ts";
import { ImageFetches } from "../../../packages/fleet/src/agent/images/fetches.ts";
import { ImageOffers } from "../../../packages/fleet/src/agent/images/offers.ts";
import type { ImageFetch } from "../../../packages/fleet/src/model/image-fetch.ts";
import type { Assignment } from "../../../packages/fleet/src/model/placement.ts";
import { askForImage, ChunkStore, storeServer } from "../../../packages/fleet/src/store/index.ts";
import { TestFolder } from "../../support/broker.ts";
import { Certificates } from "../../support/fleet/certificates.ts";
import { pieces, randomBytes } from "../../support/fleet/world.ts";
import { needs } from "../../support/needs.ts";
import { freePort } from "../../support/ports.ts";

const MIB = 1024 * 1024;
const SOON = { timeout: 60_000, interval: 20 };
const never = new AbortController().signal;
const arena = { name: "arena", version: "2.1", digest: `sha256:${"a".repeat(64)}` };

describe("images of another agent", { ...needs("casync", "openssl"), timeout: 60_000 }, () => {
  let certificates: Certificates;
  let folder: TestFolder;
  let there: ChunkStore;
  let offers: ImageOffers;
  let server: Server;
  let store: string;
  let said: string[];
  let exports: number;
  /** What the program of the host sends. */
  let content: () => AsyncIterable<Buffer>;

  beforeEach(async () => {
    certificates = new Certificates("h1", "h2");
    folder = new TestFolder();
    there = new ChunkStore(join(folder.path, "there"), 64 * MIB);
    [said, exports] = [[], 0];
    content = () => pieces(randomBytes(1, 4 * MIB));
    const state = {
      async *download({ method }: StateRequest): AsyncGenerator<Buffer, void, void> {
        expect(method).toBe("ExportImage");
        exports++;
        yield* content();
      },
    };
    const has = ({ digest }: { digest: string }) => digest === arena.digest;
    offers = new ImageOffers(state, there, { has }, (sentence) => void said.push(sentence), never);
    [server, store] = await serve();
  });
  afterEach(async () => {
    await close(server);
    folder[Symbol.dispose]();
    certificates[Symbol.dispose]();
  });

  async function serve(): Promise<[Server, address: string]> {
    const one = storeServer(there, certificates.tls("h1"), (sentence) => void said.push(sentence), offers);
    const port = await freePort();
    one.listen(port, "127.0.0.1");
    await once(one, "listening");
    return [one, `127.0.0.1:${port}`];
  }
  async function close(one: Server): Promise<void> {
    one.closeAllConnections();
    one.close();
    await once(one, "close");
  }
  /** Of the host that gets images. `upload`: what its program does with one, which is there afterwards. */
  function fetchesInto(here: ChunkStore, upload: () => void): ImageFetches {
    let isThere = false;
    return new ImageFetches(
      {
        ...{ store: here, tls: certificates.tls("h2") },
        images: { look: async () => (isThere ? [{ ...arena, bytes: 1 }] : []), has: () => isThere },
        state: {
          upload: async (request, all) => {
            expect(request).toEqual({ method: "ImportImage", image: "arena", version: "2.1", digest: arena.digest });
            for await (const piece of all) expect(piece.length).toBeGreaterThan(0);
            upload();
            isThere = true;
          },
        },
      },
      () => undefined,
      (sentence) => void said.push(sentence),
    );
  }
  const berthFrom = (...stores: string[]): Assignment => {
    const image: ImageFetch = { ...arena, bytes: 4 * MIB, sources: stores.map((one) => ({ host: "h1", store: one })) };
    return { berth: "a-1", generation: 1, config: {}, images: [image] };
  };

  const asked = (image = arena, host = "h1", longestMs = 60_000) =>
    askForImage(image, { host, store }, certificates.tls("h2"), longestMs, never);

  it("have one archive, however many ask for them, and another one when it was removed", async () => {
    const [one, other] = await Promise.all([asked(), asked()]);
    expect(one).toEqual(other);
    expect(one.name).toMatch(/^image-arena@2\.1\./);
    expect(await asked()).toEqual(one);
    expect(exports).toBe(1);
    rmSync(there.indexPath(one.name));
    expect((await asked()).name).not.toBe(one.name);
    expect(exports).toBe(2);
  });

  it("are got only by an agent that knows their digest, from the host that it means", async () => {
    const other = { ...arena, digest: `sha256:${"b".repeat(64)}` };
    await expect(asked(other)).rejects.toThrow(/it does not have that image any more/);
    await expect(asked({ ...arena, digest: "" })).rejects.toMatchObject({ code: "BAD_ARCHIVE" });
    await expect(asked(arena, "h3")).rejects.toThrow(/its certificate is that of "h1", not of h3/);
    expect(exports).toBe(0);
  });

  it("are waited for so long, and are there for the next caller", async () => {
    let goOn: () => void = () => undefined;
    const goesOn = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    content = async function* (): AsyncGenerator<Buffer, void, void> {
      await goesOn;
      yield Buffer.alloc(10);
    };
    await expect(asked(arena, "h1", 0)).rejects.toThrow("h1 makes no archive of the image in 0 s");
    goOn();
    expect(await asked()).toMatchObject({ bytes: 10 });
    expect(exports).toBe(1);
  });

  it("have the name of archives of the image, so that they take the place of no others", async () => {
    const named = { name: `berth-a-1.${"0".repeat(32)}`, sha256: "a".repeat(64), bytes: 1 };
    const strange = storeServer(there, certificates.tls("h1"), () => undefined, { archiveOf: async () => named });
    strange.listen(0, "127.0.0.1");
    await once(strange, "listening");
    const address = strange.address();
    const source = { host: "h1", store: `127.0.0.1:${typeof address === "object" ? address?.port : ""}` };
    try {
      await expect(askForImage(arena, source, certificates.tls("h2"), 60_000, never)).rejects.toMatchObject({
        code: "BAD_ARCHIVE",
        message: `h1 calls its archive of the image ${named.name}`,
      });
    } finally {
      strange.close();
    }
  });

  it("that cannot be sent say so, and are not tried again and again", async () => {
    content = async function* (): AsyncGenerator<Buffer, void, void> {
      yield* pieces(randomBytes(1, 10));
      throw new Error("the disk has failed");
    };
    await expect(asked()).rejects.toThrow(/it answers with 503/);
    await expect(asked()).rejects.toThrow(/it answers with 503/);
    expect(exports).toBe(1);
    expect(said).toEqual(["image arena@2.1 cannot be sent to other hosts: Error: the disk has failed"]);
  });

  it("that do not come whole are got from the next host, with what is there already", async () => {
    let uploads = 0;
    const fetches = fetchesInto(new ChunkStore(join(folder.path, "here"), 64 * MIB), () => {
      if (++uploads === 1) throw new Error("it has broken");
    });
    const berth = berthFrom(store, `127.0.0.1:${await freePort()}`);
    fetches.wanted = [berth];
    expect(fetches.isReady(berth)).toBe(false);
    expect(fetches.reportOf(berth)).toEqual({ state: "fetching", why: "image arena@2.1, 0 %" });
    const stop = new AbortController();
    const running = fetches.run(stop.signal);
    await expect.poll(() => fetches.isReady(berth), SOON).toBe(true);
    expect(fetches.reportOf(berth)).toBeUndefined();
    // The index came again, and no chunk.
    const last = /from h1: (\d+) bytes/.exec(said.at(-1) ?? "");
    expect(Number(last?.[1])).toBeLessThan(64 * 1024);
    expect(said.join("\n")).toContain("image arena@2.1 cannot be fetched: Error: it has broken");
    stop.abort();
    await running;
  });

  it("whose host dies in the middle come from another one, and no chunk that is there comes again", async () => {
    const [second, address] = await serve();
    const chunks: string[] = [];
    for (const one of [server, second])
      one.prependListener("request", ({ url = "" }: IncomingMessage) => {
        if (!url.startsWith("/chunks/") || chunks.push(url) !== 20) return;
        one.removeAllListeners("request").on("request", ({ socket }: IncomingMessage) => void socket.destroy());
        one.closeAllConnections();
      });
    const here = new ChunkStore(join(folder.path, "here"), 64 * MIB);
    const fetches = fetchesInto(here, () => undefined);
    const berth = berthFrom(store, address);
    fetches.wanted = [berth];
    const stop = new AbortController();
    const running = fetches.run(stop.signal);
    await expect.poll(() => fetches.isReady(berth), SOON).toBe(true);
    expect(said[0]).toMatch(/^image arena@2\.1 cannot be fetched: cannot fetch from the store of h1/);
    const [name = ""] = readdirSync(join(folder.path, "here/indexes"));
    const { chunks: all } = await here.index(name.replace(/\.caibx$/, ""));
    expect(all.size).toBeGreaterThan(20);
    expect(new Set(chunks).size).toBe(all.size);
    // Eight were on their way when the host died.
    expect(chunks.length).toBeLessThanOrEqual(all.size + 8);
    stop.abort();
    await running;
    await close(second);
  });
});
