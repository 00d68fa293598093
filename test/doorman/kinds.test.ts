/** Which packets are a join: a scan or a query never is one, a player's first packet always. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DatagramName, datagramProtocols, minecraft } from "../../packages/doorman/src/index.ts";
import { joins, queries, scans } from "../support/doorman/scans.ts";
import { streamJoins, streamQueries, streamScans } from "../support/doorman/streams.ts";
import { runs } from "../support/property-runs.ts";

const protocols = Object.values(datagramProtocols);
const noise = [...Object.values(scans), ...Object.values(queries).map(({ bytes }) => bytes)];

/** The same packets each time: random bytes behind a header that is cut off may be a true join. */
const SEED = 20_261_130;

/** A packet as a scanner sends it, cut off, or with more behind it. */
function varied(shapes: readonly Buffer[]): fc.Arbitrary<Buffer> {
  const most = Math.max(...shapes.map(({ length }) => length));
  return fc
    .record({ shape: fc.constantFrom(...shapes), length: fc.nat(most), tail: fc.uint8Array({ maxLength: 64 }) })
    .map(({ shape, length, tail }) => Buffer.concat([shape.subarray(0, length), tail]));
}

describe("datagrams", () => {
  it.each(Object.entries(scans))("is no join and no query in any protocol: %s", (_, bytes) => {
    expect(protocols.map(({ name, classify }) => [name, classify(bytes)])).toEqual(
      protocols.map(({ name }) => [name, "other"]),
    );
  });

  it.each(Object.entries(queries))("is a query in its protocol, and a join in none: %s", (_, { of, bytes }) => {
    expect(datagramProtocols[of].classify(bytes)).toBe("status");
    expect(protocols.filter(({ classify }) => classify(bytes) === "join")).toEqual([]);
  });

  it.each(Object.entries(joins))("is a join in its protocol: %s", (_, { of, bytes }) => {
    expect(datagramProtocols[of].classify(bytes)).toBe("join");
  });

  it.each(Object.entries(joins))("is no join when it is cut off within its header: %s", (_, { of, bytes }) => {
    expect(datagramProtocols[of].classify(bytes.subarray(0, 3))).toBe("other");
  });

  it("of 10,000 scans and queries, whole, cut off or longer, none is a join", () => {
    const seen: Record<DatagramName, number> = { a2s: 0, bedrock: 0, quake3: 0, teeworlds: 0 };
    fc.assert(
      fc.property(varied(noise), (packet) => {
        for (const { name, classify } of protocols) if (classify(packet) === "join") seen[name]++;
      }),
      { numRuns: runs(10_000), seed: SEED },
    );
    expect(seen).toEqual({ a2s: 0, bedrock: 0, quake3: 0, teeworlds: 0 });
  });
});

describe("connections", () => {
  it.each(Object.entries(streamScans))("is neither join nor query: %s", (_, bytes) => {
    expect(minecraft.classify(bytes)).toBe("other");
  });

  it.each(Object.entries(streamQueries))("is a query: %s", (_, bytes) => {
    expect(minecraft.classify(bytes)).toBe("status");
  });

  it.each(Object.entries(streamJoins))("is a join, and only when all of it has come: %s", (_, bytes) => {
    expect(minecraft.classify(bytes)).toBe("join");
    // The last client's text is its whole login; the others have an id or a port at the end.
    expect(minecraft.classify(bytes.subarray(0, -1))).toBe("other");
  });

  it("of 10,000 scans and queries, whole, cut off or longer, none is a join", () => {
    // A handshake that wants to log in becomes a join with a name behind it, and so it should.
    const shapes = [...Object.values(streamScans), ...Object.values(streamQueries)].filter((one) => !isLogin(one));
    let joined = 0;
    fc.assert(
      fc.property(varied(shapes), (bytes) => {
        if (minecraft.classify(bytes) === "join") joined++;
      }),
      { numRuns: runs(10_000), seed: SEED },
    );
    expect(joined).toBe(0);
  });
});

function isLogin(bytes: Buffer): boolean {
  return Object.values(streamJoins).some((join) => bytes.length > 0 && join.subarray(0, bytes.length).equals(bytes));
}
