/** Any bytes: no codec throws, and no answer is so long that forging a question pays. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Challenge,
  datagramProtocols,
  minecraft,
  type SleepingServer,
  type Turn,
} from "../../packages/doorman/src/index.ts";
import { joins, queries, scans } from "../support/doorman/scans.ts";
import { streamJoins, streamQueries, streamScans } from "../support/doorman/streams.ts";
import { runs } from "../support/property-runs.ts";

const protocols = Object.values(datagramProtocols);
const challenge: Challenge = { value: 0x01020304, met: (shown) => shown === 0x01020304 };
/** Longer than any answer that may be forged for. The largest has three texts of 64 bytes and some numbers. */
const LONGEST_UNPROVEN = 512;

const known = [
  ...Object.values(scans),
  ...[...Object.values(queries), ...Object.values(joins)].map(({ bytes }) => bytes),
];

/** Any bytes, and packets that are known with some bytes changed, cut off, or with more behind them. */
function packets(shapes: readonly Buffer[]): fc.Arbitrary<Uint8Array> {
  const changed = fc
    .record({
      shape: fc.constantFrom(...shapes),
      changes: fc.array(fc.tuple(fc.nat(48), fc.nat(255)), { maxLength: 3 }),
      length: fc.nat(1500),
      tail: fc.uint8Array({ maxLength: 32 }),
    })
    .map(({ shape, changes, length, tail }) => {
      const bytes = Buffer.concat([shape.subarray(0, length), tail]);
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
      return bytes;
    });
  return fc.oneof(changed, fc.uint8Array({ maxLength: 1500 }));
}

/** Texts and numbers that a configuration could have at worst. */
const servers: fc.Arbitrary<SleepingServer> = fc.record(
  {
    name: fc.string({ unit: "binary", maxLength: 300 }),
    map: fc.string({ unit: "binary", maxLength: 300 }),
    slots: fc.oneof(fc.double(), fc.integer()),
    game: fc.string({ unit: "binary", maxLength: 300 }),
    version: fc.string({ unit: "binary", maxLength: 300 }),
    protocol: fc.integer(),
    port: fc.integer(),
    id: fc.bigInt(),
  },
  { requiredKeys: ["name", "map", "slots"] },
);

describe.each(protocols)("$name", ({ classify, answer, isChallenged }) => {
  it("never throws, and answers only queries", () => {
    const seen = { answered: 0, silent: 0 };
    fc.assert(
      fc.property(packets(known), servers, (packet, server) => {
        const kind = classify(packet);
        const given = answer(packet, server, challenge);
        seen[given === undefined ? "silent" : "answered"]++;
        expect(["status", "join", "other"]).toContain(kind);
        if (kind !== "status") expect(given).toBeUndefined();
      }),
      { numRuns: runs(3000) },
    );
    expect(Math.min(seen.answered, seen.silent)).toBeGreaterThan(0);
  });

  it("sends no long answer to an address that is not proved", () => {
    fc.assert(
      fc.property(packets(Object.values(queries).map(({ bytes }) => bytes)), servers, (packet, server) => {
        const given = answer(packet, server, { value: 5, met: () => false });
        if (given === undefined) return;
        expect(given.proven).toBe(false);
        expect(given.bytes.length).toBeLessThanOrEqual(isChallenged ? packet.length : LONGEST_UNPROVEN);
      }),
      { numRuns: runs(3000) },
    );
  });

  it("fits into one datagram, with the challenge too", () => {
    fc.assert(
      fc.property(packets(Object.values(queries).map(({ bytes }) => bytes)), servers, (packet, server) => {
        const given = answer(packet, server, { value: 5, met: () => true });
        expect(given?.bytes.length ?? 0).toBeLessThan(1200);
      }),
      { numRuns: runs(1000) },
    );
  });
});

describe("minecraft", () => {
  const streams = packets([streamScans, streamQueries, streamJoins].flatMap((shapes) => Object.values(shapes)));

  /** What it says to these bytes, in pieces of these lengths, until it ends. */
  function converse(
    bytes: Uint8Array,
    server: SleepingServer,
    lengths: readonly number[],
    how: "converse" | "turnAway" = "converse",
  ): Turn & { reply: Buffer } {
    const conversation = minecraft[how](server, "starting");
    const replies: Uint8Array[] = [];
    let turn = conversation.feed(new Uint8Array(0));
    for (let at = 0, piece = 0; at < bytes.length && !turn.ends; piece++) {
      const length = lengths[piece % lengths.length] ?? 1;
      turn = conversation.feed(bytes.subarray(at, at + length));
      replies.push(turn.reply);
      at += length;
    }
    return { ...turn, reply: Buffer.concat(replies) };
  }

  it("never throws, in whatever pieces the bytes come", () => {
    fc.assert(
      fc.property(
        streams,
        servers,
        fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1 }),
        fc.constantFrom("converse", "turnAway"),
        (bytes, server, by, how) => {
          const { kind, reply, ends } = converse(bytes, server, by, how);
          expect(["status", "join", "other", undefined]).toContain(kind);
          expect(reply.length).toBeLessThan(8192);
          if (kind === "join" || kind === "other") expect(ends).toBe(true);
        },
      ),
      { numRuns: runs(3000) },
    );
  });

  it("says the same, in whatever pieces the bytes of a client since 1.7 come", () => {
    const modern = Object.values({ ...streamQueries, ...streamJoins }).filter(
      ([first]) => first !== 0xfe && first !== 2,
    );
    expect(modern.length).toBeGreaterThan(4);
    fc.assert(
      fc.property(
        fc.constantFrom(...modern),
        servers,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (bytes, server, by) => {
          const { kind, reply, ends } = converse(bytes, server, [bytes.length]);
          expect(converse(bytes, server, by)).toEqual({ kind, reply, ends });
        },
      ),
      { numRuns: runs(500) },
    );
  });

  it("keeps no more than an opening may have, and says nothing after its end", () => {
    const conversation = minecraft.converse({ name: "", map: "", slots: 1 }, "");
    // A frame of 2000 bytes that never comes to its end.
    let turn = conversation.feed(Buffer.of(0xd0, 0x0f));
    let sent = 0;
    for (; !turn.ends && sent < 100_000; sent += 100) turn = conversation.feed(Buffer.alloc(100, 0x20));
    expect(sent).toBeLessThan(8192);
    expect(turn.kind).toBe("other");
    expect(conversation.feed(Buffer.of(0xfe, 1))).toEqual({ kind: undefined, reply: Buffer.alloc(0), ends: true });
  });
});
