/** Binds of an address again and again, more often than the broker searches for copies of the socket. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { leaksNothing } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { type Served, serve } from "./told-server.ts";

const SEARCHES_PER_SECOND = 20;
const BINDS_PER_SECOND = 200;
/** As long as it takes: the tests stop the clock that ends it. */
const LONG_MS = 60_000;

leaksNothing("soon");
afterEach(() => vi.restoreAllMocks());

interface Unsearched extends Served {
  /** Until this is called, the second within which so many searches are made does not end. */
  readonly endSecond: () => void;
}

/**
 * A server for which nothing is searched any more: it has bound and closed often enough, with this set on its socket.
 * `againMs` is as long as its further binds are foreseen.
 */
async function unsearched(againMs: number, set = ""): Promise<Unsearched> {
  const served = await serve();
  const { server, foreseeing, port, held } = served;
  try {
    await served.begins();
    const begin = Math.floor(performance.now() / 1000) * 1000 + 1;
    const clock = vi.spyOn(performance, "now").mockReturnValue(begin);
    foreseeing.againMs = againMs;
    for (let bind = 0; foreseeing.agains === 0 && bind <= SEARCHES_PER_SECOND + 1; bind++) {
      expect(await server.answers(`udp 127.0.0.1 ${port} ${set}`)).toBe(held);
      expect(await server.answers("close")).toBe("closed");
    }
    expect(foreseeing.agains).toBe(1);
    return { ...served, endSecond: () => void clock.mockReturnValue(begin + 1000) };
  } catch (error) {
    await served[Symbol.asyncDispose]();
    throw error;
  }
}

const bounds = ({ broker }: Served): number => broker.log.filter(({ event }) => event === "bound").length;

describe("a server that binds an address more often than copies are searched for", {
  ...needs("root"),
  timeout: 60_000,
}, () => {
  it("is answered while the broker's event loop does something else, and logged afterwards", async () => {
    await using served = await unsearched(LONG_MS);
    const { foreseeing, server, port, held } = served;
    const before = bounds(served);
    expect(server.ask(`udp 127.0.0.1 ${port}`)).toBe(held);
    expect(server.ask("close")).toBe("closed");
    expect(bounds(served)).toBe(before);
    expect(server.ask(`udp 127.0.0.1 ${port}`)).toBe(held);
    await expect.poll(() => bounds(served)).toBe(before + 2);
    expect(foreseeing.agains).toBe(1);
  });

  it("is answered so where the held socket has O_NONBLOCK of it, and the server's own has it, too", async () => {
    await using served = await unsearched(LONG_MS, "nonblock");
    const { foreseeing, server, port, held } = served;
    const { answers } = foreseeing;
    expect(server.ask(`udp 127.0.0.1 ${port} nonblock`)).toBe(held);
    expect(server.ask("see")).toContain("nonblock=1");
    expect(server.ask("close")).toBe("closed");
    expect(foreseeing.answers).toBe(answers);
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe(held);
    expect(foreseeing.answers).toBe(answers + 1);
    expect(await server.answers("see")).toContain("nonblock=0");
  });

  it("gets EADDRINUSE while it has the socket", async () => {
    await using served = await unsearched(LONG_MS);
    const { server, port, held } = served;
    expect(server.ask(`udp 127.0.0.1 ${port}`)).toBe(held);
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe("EADDRINUSE");
    expect(await server.answers(`udp 0.0.0.0 ${port}`)).toBe("EADDRINUSE");
  });

  it("is asked about again when the time is over", async () => {
    await using served = await unsearched(-1);
    const { foreseeing, server, port, held } = served;
    const { answers } = foreseeing;
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe(held);
    expect(foreseeing.answers).toBe(answers + 1);
  });

  it("has the socket as new in the next second", async () => {
    await using served = await unsearched(-1);
    const { server, port, held, endSecond } = served;
    expect(await server.answers(`udp 127.0.0.1 ${port} ttl=9`)).toBe(held);
    expect(await server.answers("close")).toBe("closed");
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe(held);
    expect(await server.answers("see")).toContain("ttl=9");
    expect(await server.answers("close")).toBe("closed");
    endSecond();
    expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe(held);
    expect(await server.answers("see")).toContain("ttl=64");
  });

  it("waits as any other after 200 binds in a second", async () => {
    await using served = await unsearched(LONG_MS);
    const { broker, foreseeing, server, port, held } = served;
    const { answers } = foreseeing;
    const flood = (): boolean => broker.log.some(({ message }) => message.includes("more than 200 binds a second"));
    for (let bind = SEARCHES_PER_SECOND; bind < BINDS_PER_SECOND + 5; bind++) {
      expect(await server.answers(`udp 127.0.0.1 ${port}`)).toBe(held);
      expect(await server.answers("close")).toBe("closed");
    }
    await expect.poll(flood).toBe(true);
    // All others were answered as foreseen.
    expect(foreseeing.answers - answers).toBeLessThan(20);
  });
});
