/** What a doorman tells players while a server drains: read as each game's client reads it, and never too long. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DatagramName, datagramProtocols } from "../../packages/doorman/src/index.ts";
import { isJoin, lastJoinShapes } from "../../src/net/join-shapes.ts";
import { lastJoins } from "../support/doorman/last-joins.ts";
import { joins, queries, scans } from "../support/doorman/scans.ts";
import { runs } from "../support/property-runs.ts";

/** What the kernel copies of a join. */
const BEGINNING = 64;

function refuse(of: DatagramName, join: Uint8Array, text: string): Buffer | undefined {
  const answer = datagramProtocols[of].refuse(join.subarray(0, BEGINNING), join.length, text);
  return answer === undefined ? undefined : Buffer.from(answer);
}

/** Whether the kernel drops it where players are told. */
function isLast(of: DatagramName, bytes: Uint8Array): boolean {
  return of !== "bedrock" && isJoin(bytes, lastJoinShapes(of) ?? []);
}

/** Texts that every protocol can carry as they are. */
const words = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9 ,.:-]{0,80}[A-Za-z0-9]$/);

describe.each(Object.entries(lastJoins))("%s", (_, { of, bytes, told }) => {
  it("is told the whole text where it has room", () => {
    fc.assert(
      fc.property(words, (text) => {
        const answer = refuse(of, bytes, text) ?? expect.unreachable("no answer");
        expect(told(answer)).toBe(text);
        expect(answer.length).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: runs(300) },
    );
  });

  it("is told as much of a text as it has room for, and nothing where it has none", () => {
    fc.assert(
      fc.property(words, fc.nat(bytes.length), (text, length) => {
        const answer = refuse(of, bytes.subarray(0, length), text);
        if (answer === undefined) return;
        expect(answer.length).toBeLessThanOrEqual(length);
        const shown = told(answer);
        expect([shown.length > 0, text.startsWith(shown)]).toEqual([true, true]);
      }),
      { numRuns: runs(500) },
    );
  });

  it("is a join that the kernel drops for that", () => {
    expect(isLast(of, bytes)).toBe(true);
  });
});

describe.each(Object.values(datagramProtocols))("$name, to any bytes", ({ name, refuse }) => {
  const known = [
    ...Object.values(scans),
    ...Object.values({ ...queries, ...joins, ...lastJoins }).map(({ bytes }) => bytes),
  ];
  const packets = fc
    .record({
      shape: fc.oneof(fc.constantFrom(...known), fc.uint8Array({ maxLength: 200 })),
      changes: fc.array(fc.tuple(fc.nat(30), fc.nat(255)), { maxLength: 3 }),
      length: fc.nat(1500),
    })
    .map(({ shape, changes, length }) => {
      const bytes = Buffer.from(shape.subarray(0, length));
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
      return bytes;
    });

  it("never throws, and says no more than it was sent", () => {
    const seen = { told: 0, silent: 0 };
    fc.assert(
      fc.property(packets, fc.string({ unit: "binary", maxLength: 300 }), (packet, text) => {
        const answer = refuse(packet.subarray(0, BEGINNING), packet.length, text);
        seen[answer === undefined ? "silent" : "told"]++;
        expect(answer?.length ?? 0).toBeLessThanOrEqual(packet.length);
        expect(answer?.length ?? 0).toBeLessThan(400);
      }),
      { numRuns: runs(3000) },
    );
    expect(seen.silent).toBeGreaterThan(0);
    if (name === "bedrock") expect(seen.told).toBe(0);
    else expect(seen.told).toBeGreaterThan(0);
  });
});

it.each([...Object.entries(queries), ...Object.entries(joins)].filter(([, { of, bytes }]) => !isLast(of, bytes)))(
  "says nothing to a query, and to a question for a challenge or a token: %s",
  (_, { of, bytes }) => {
    expect(refuse(of, bytes, "no")).toBeUndefined();
  },
);

it("says nothing to a connect of Teeworlds 0.6, and of DDNet: no text is as short", () => {
  for (const name of ["Teeworlds 0.6", "DDNet"]) {
    const { bytes } = joins[name] ?? expect.unreachable();
    expect([isLast("teeworlds", bytes), refuse("teeworlds", bytes, "no")]).toEqual([true, undefined]);
  }
});

it("leaves out what a client would read as something else", () => {
  const text = '50%s "now"\\n\r\n#end';
  const read = (name: string): string => {
    const { of, bytes, told } = lastJoins[name] ?? expect.unreachable(name);
    return told(refuse(of, bytes, text) ?? expect.unreachable("no answer"));
  };
  expect(read("Quake III")).toBe("50s nown#end");
  expect(read("GoldSrc")).toBe('50s "now"\\n#end');
  expect(read("Teeworlds 0.7")).toBe('50%s "now"\\n#end');
});

it("repeats the client's own challenge to Source, and says nothing to CS:GO, whose connect has none", () => {
  const { bytes } = lastJoins["Source 2013"] ?? expect.unreachable();
  expect(refuse("a2s", bytes, "no")?.toString("hex")).toBe("ffffffff39050607086e6f00");
  const csgo = Buffer.from(bytes);
  csgo.writeUInt32LE(13_881, 5);
  expect(refuse("a2s", csgo, "no")).toBeUndefined();
});

it("closes a connection of Teeworlds 0.7 with the client's token", () => {
  const { bytes } = lastJoins["Teeworlds 0.7"] ?? expect.unreachable();
  expect(refuse("teeworlds", bytes, "no")?.toString("hex")).toBe("0400006265727404" + "6e6f00");
});
