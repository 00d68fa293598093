/** Asking servers that run how many play: by hand-made answers, by those of the sleeping server, and by any bytes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Challenge,
  type DatagramName,
  datagramProtocols,
  type Inquiry,
  minecraft,
  type SleepingServer,
} from "../../packages/doorman/src/index.ts";
import { answers, tellJava } from "../support/doorman/answers.ts";
import { sleeper } from "../support/doorman/sleeping.ts";
import { runs } from "../support/property-runs.ts";

const NONCE = 0x1234abcd;
const names: readonly DatagramName[] = ["a2s", "quake3", "bedrock", "teeworlds"];
const challenge: Challenge = { value: 0x01020304, met: (shown) => shown === 0x01020304 };

/** What a server that answers by `answer` says of its players. */
function inquire(inquiry: Inquiry, answer: (question: Uint8Array) => readonly Uint8Array[]): number | undefined {
  for (let round = 0; round < 10 && !inquiry.isOver; round++) {
    const said = inquiry.asks.flatMap(answer);
    const hasChanged = said.map((bytes) => inquiry.feed(bytes)).includes(true);
    if (!hasChanged) break;
  }
  return inquiry.players;
}

function some(bytes: Uint8Array | undefined): readonly Uint8Array[] {
  return bytes === undefined ? [] : [bytes];
}

describe.each(names)("%s", (name) => {
  const { inquire: begin, classify, answer } = datagramProtocols[name];

  it("asks questions that the sleeping server knows, and hears that nobody plays", () => {
    const inquiry = begin(NONCE);
    const kinds = inquiry.asks.map(classify);
    expect(new Set(kinds)).toEqual(new Set(["status"]));
    const players = inquire(inquiry, (question) => some(answer(question, sleeper, challenge)?.bytes));
    expect(players).toBe(0);
    expect(inquiry.isOver).toBe(true);
  });

  it.each(answers[name].map((one) => [one.what, one] as const))("%s", (_, { players, tell }) => {
    expect(inquire(begin(NONCE), tell)).toBe(players);
  });

  it("hears nothing from an answer to another question", () => {
    for (const { tell } of answers[name]) {
      const said = inquire(begin(0x0badcafe), () => begin(NONCE).asks.flatMap(tell));
      // A2S has no room for a number of ours: a connected socket alone says who answers.
      if (name !== "a2s") expect(said).toBeUndefined();
    }
  });

  it("never throws, and hears a possible number or none, whatever a server sends", () => {
    const seen = { known: 0, unknown: 0 };
    const shapes = answers[name].flatMap(({ tell }) => {
      const inquiry = begin(NONCE);
      const first = inquiry.asks.flatMap(tell);
      for (const bytes of first) inquiry.feed(bytes);
      return [...first, ...inquiry.asks.flatMap(tell)];
    });
    fc.assert(
      fc.property(fc.array(mutated(shapes), { minLength: 1, maxLength: 8 }), (packets) => {
        const inquiry = begin(NONCE);
        for (const packet of packets) {
          inquiry.feed(packet);
          for (const bytes of inquiry.asks) expect(bytes.length).toBeLessThan(600);
          expect(inquiry.asks.length).toBeLessThan(3);
        }
        seen[inquiry.players === undefined ? "unknown" : "known"]++;
        expectPossible(inquiry.players);
      }),
      { numRuns: runs(3000) },
    );
    expect(Math.min(seen.known, seen.unknown)).toBeGreaterThan(0);
  });

  it("ends at some time, although a server answers every question with another one", () => {
    const inquiry = begin(NONCE);
    let changes = 0;
    for (let round = 0; round < 1000; round++)
      for (const { tell } of answers[name])
        for (const said of inquiry.asks.flatMap(tell)) changes += inquiry.feed(said.subarray(0, 12)) ? 1 : 0;
    expect(changes).toBeLessThan(5);
  });
});

describe("minecraft", () => {
  const servers: readonly SleepingServer[] = [sleeper, { ...sleeper, name: "§".repeat(200) }];

  it.each(servers)("asks what the sleeping server knows, and hears that nobody plays", (server) => {
    expect(inquire(minecraft.inquire(25565), (question) => [minecraft.converse(server, "").feed(question).reply])).toBe(
      0,
    );
  });

  it.each(servers)("hears nothing from a server that lets nobody in", (server) => {
    const inquiry = minecraft.inquire(25565);
    const conversation = minecraft.turnAway(server, "later");
    for (const question of inquiry.asks) inquiry.feed(conversation.feed(question).reply);
    expect([inquiry.players, inquiry.isOver]).toEqual([undefined, true]);
  });

  it("hears who plays, in whatever pieces the answer comes", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.integer({ min: 1, max: 5000 }), (count, length) => {
        const inquiry = minecraft.inquire(25565);
        const said = tellJava({ players: { max: 20, online: count }, favicon: "x".repeat(30_000) });
        for (let at = 0; at < said.length; at += length) inquiry.feed(said.subarray(at, at + length));
        expect([inquiry.players, inquiry.isOver]).toEqual([count, true]);
      }),
      { numRuns: runs(50) },
    );
  });

  it.each([
    ["no JSON", Buffer.from("0800064e6f7468696e", "hex")],
    ["no players", tellJava({ version: { name: "1.20" } })],
    ["players that are no number", tellJava({ players: { online: "3" } })],
    ["fewer than none", tellJava({ players: { online: -1 } })],
    ["a part of one", tellJava({ players: { online: 0.5 } })],
    ["another packet", Buffer.from("0401000000", "hex")],
  ])("hears nothing from an answer with %s, and ends", (_, said) => {
    const inquiry = minecraft.inquire(25565);
    inquiry.feed(said);
    expect([inquiry.players, inquiry.isOver]).toEqual([undefined, true]);
  });

  it("keeps a bounded number of bytes, and ends", () => {
    const inquiry = minecraft.inquire(25565);
    // A length of 131,000, whose bytes never end.
    inquiry.feed(Buffer.of(0xb8, 0xff, 0x07));
    let sent = 0;
    for (; !inquiry.isOver && sent < 1_000_000; sent += 1000) inquiry.feed(Buffer.alloc(1000, 0x20));
    expect(sent).toBeLessThan(135_000);
    expect(inquiry.players).toBeUndefined();
  });

  it("never throws, whatever a server sends", () => {
    const shapes = [tellJava({ players: { max: 20, online: 3 } }), Buffer.from("0401000000", "hex")];
    fc.assert(
      fc.property(fc.array(mutated(shapes), { minLength: 1, maxLength: 8 }), (pieces) => {
        const inquiry = minecraft.inquire(25565);
        for (const piece of pieces) inquiry.feed(piece);
        expectPossible(inquiry.players);
      }),
      { numRuns: runs(3000) },
    );
  });
});

/** Any bytes, and answers with some bytes changed, cut off, or with more behind them. */
function mutated(shapes: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const changed = fc
    .record({
      shape: fc.constantFrom(...shapes),
      changes: fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 2 }),
      length: fc.oneof({ weight: 3, arbitrary: fc.constant(2000) }, fc.nat(200)),
      tail: fc.uint8Array({ maxLength: 16 }),
    })
    .map(({ shape, changes, length, tail }) => {
      const bytes = Buffer.concat([shape.subarray(0, length), tail]);
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
      return bytes;
    });
  return fc.oneof({ weight: 4, arbitrary: changed }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 1500 }) });
}

function expectPossible(players: number | undefined): void {
  if (players === undefined) return;
  expect(Number.isInteger(players) && players >= 0 && players <= 1_000_000).toBe(true);
}
