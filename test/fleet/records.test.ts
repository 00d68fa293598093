/** Records of the fleet: what is written can be read, and what does not fit is refused with its place. */
import { parse } from "smol-toml";
import { describe, expect, it, test } from "vitest";
import {
  allocation,
  assignment,
  berthSet,
  bookings,
  Fault,
  fromJson,
  hostRecord,
  type Key,
  Keys,
  missing,
  parsePortRange,
  placement,
  withPorts,
  writeBerthSet,
} from "../../packages/fleet/src/index.ts";

const arena = `
name = "arena"
count = 2
strategy = "packed"
on-lost = "replace"
memory = 268435456
tolerates = ["spot"]
labels = { region = "eu" }
image = { name = "arena", digest = "sha256:0123456789abcdef", size = 1000 }

[berth.sockets.game]
listen = ["udp://0.0.0.0:0", "udp://[::]:0"]

[berth.sockets.admin]
listen = ["tcp://127.0.0.1:8080", "unix:/run/arena.sock"]

[berth.server]
command = ["/srv/arena", "{port:game}"]
`;

const host = {
  name: "h1",
  addresses: ["192.0.2.1"],
  pools: [{ first: 27_000, last: 27_099 }],
  busy: [22],
  cores: 2,
  memory: 1000,
  labels: { region: "eu" },
  taints: [],
  images: [{ name: "arena", digest: "sha256:0123456789abcdef" }],
  imageRoom: 0,
  bootId: "5e1f6e0e-7b0c-4c57-9d0e-0a6d6a3c5a11",
  version: "0.1.0",
};

/** The sentence of a refusal. */
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("a set of berths", () => {
  it("is read from TOML, and again from what was written", () => {
    const set = berthSet(parse(arena), "arena.toml");
    expect(set).toMatchObject({ name: "arena", count: 2, onLost: "replace", labels: { region: "eu" } });
    expect(fromJson(writeBerthSet(set), berthSet, "set arena")).toEqual(set);
  });

  it("has one berth that is spread and stays with its host unless it says otherwise", () => {
    expect(berthSet({ name: "a", berth: {} }, "a")).toEqual({
      ...{ name: "a", count: 1, strategy: "spread", onLost: "stay", memory: 0 },
      ...{ labels: {}, tolerates: [], berth: {} },
    });
  });

  it.each([
    ["[]", "set: must be a table, and is a list"],
    ['{"berth":{}}', "set: name is missing"],
    ['{"name":"a"}', "set: berth is missing"],
    ['{"name":"a/b","berth":{}}', 'set: name: must be a name (letters, digits, _ . -, at most 51), and is "a/b"'],
    ['{"name":"a","berth":{},"count":-1}', "set: count: must be an integer from 0 to 10000, and is -1"],
    ['{"name":"a","berth":{},"count":"3"}', "set: count: must be an integer from 0 to 10000, and is a string"],
    ['{"name":"a","berth":{},"strategy":"best"}', 'set: strategy: must be "packed" or "spread"'],
    [
      '{"name":"a","berth":{},"onLost":"stay"}',
      "set: there is no key onLost; the keys are berth, count, image, labels, memory, name, on-lost, strategy, tolerates",
    ],
    ['{"name":"a","berth":{},"image":{}}', "set: image: name is missing"],
    ['{"name":"a","berth":{"sockets":{"game":{}}}}', "set: berth: sockets.game: listen is missing"],
    [
      '{"name":"a","berth":{"sockets":{"game":{"listen":["udp://[::]:70000"]}}}}',
      "set: berth: sockets.game: listen: must be an integer from 1 to 65535, and is 70000",
    ],
    ['{"name":"a","berth":{"sockets":3}}', "set: berth: sockets: must be a table, and is a number"],
    ["{", "set: is no JSON"],
  ])("%s is refused with its place", (source, sentence) => {
    expect(refusal(() => fromJson(source, berthSet, "set"))).toBe(sentence);
  });

  it("a date of TOML is refused: JSON has none", () => {
    const source = 'name = "a"\n[berth]\nsince = 2026-01-01\n';
    expect(refusal(() => berthSet(parse(source), "a.toml"))).toBe(
      "a.toml: berth.since: must be a table, and is a date",
    );
  });

  it("tables without an end are refused", () => {
    const deep = `${'{"a":'.repeat(100)}1${"}".repeat(100)}`;
    expect(refusal(() => fromJson(`{"name":"a","berth":${deep}}`, berthSet, "set"))).toMatch(/more than 16 tables/);
  });

  it("has berths named after it, and those that are placed are not missing", () => {
    const set = berthSet(parse(arena), "arena.toml");
    expect(missing(set, new Set(["arena-1"]))).toMatchObject([{ berth: "arena-2", drawn: ["game"], fixed: [8080] }]);
  });
});

test("a drawn port takes the place of port 0 in every address of its socket, and of nothing else", () => {
  const { berth } = berthSet(parse(arena), "arena.toml");
  expect(withPorts(berth, { game: 27_001 })).toEqual({
    ...berth,
    sockets: {
      game: { listen: ["udp://0.0.0.0:27001", "udp://[::]:27001"] },
      admin: { listen: ["tcp://127.0.0.1:8080", "unix:/run/arena.sock"] },
    },
  });
});

test("a host, a placement, an assignment, bookings and an allocation are read as they were written", () => {
  const placed = { berth: "a-1", set: "a", host: "h1", generation: 7, ports: { game: 27_001 }, onLost: "stay" };
  const booked = { berths: { "a-1": { set: "a", ports: [27_001], memory: 5 } } };
  const assigned = { berth: "a-1", generation: 7, config: { sockets: {} } };
  expect(hostRecord(host, "h")).toEqual(host);
  expect(placement(placed, "p")).toEqual(placed);
  expect(bookings(booked, "b")).toEqual(booked);
  expect(assignment(assigned, "a")).toEqual(assigned);
  const allocated = { berth: "a-1", generation: 7, server: "lease" };
  expect(allocation(allocated, "a")).toEqual(allocated);
});

test("a record of a newer version may have more than this one knows", () => {
  expect(hostRecord({ ...host, gpus: 2 }, "h")).toEqual(host);
});

test.each([
  [{ pools: [{ first: 9, last: 3 }] }, "h: pools[0]: port 9 is above port 3"],
  [{ pools: [{ first: 0, last: 3 }] }, "h: pools[0]: first: must be an integer from 1 to 65535, and is 0"],
  [{ memory: 1.5 }, "h: memory: must be an integer from 0 to 9007199254740991, and is 1.5"],
  [
    { images: [{ name: "arena", digest: "latest" }] },
    'h: images[0]: digest: must be a digest, as sha256:0123…, and is "latest"',
  ],
  [
    { labels: { "a b": "c" } },
    'h: labels: must be a label\'s name (letters, digits, _ . / -, at most 63), and is "a b"',
  ],
  [{ labels: { a: 1 } }, "h: labels.a: must be a label's value (letters, digits, _ . : -), and is a number"],
])("a host with %j is refused with the place", (change, sentence) => {
  expect(refusal(() => hostRecord({ ...host, ...change }, "h"))).toBe(sentence);
});

test("a range of ports is FIRST-LAST, or one port", () => {
  expect(parsePortRange("27000-27099", "--ports")).toEqual({ first: 27_000, last: 27_099 });
  expect(parsePortRange("27000", "--ports")).toEqual({ first: 27_000, last: 27_000 });
  expect(refusal(() => parsePortRange("27000-", "--ports"))).toBe(
    '--ports: "27000-" is no range of ports: write FIRST-LAST',
  );
  expect(refusal(() => parsePortRange("9-3", "--ports"))).toBe("--ports: port 9 is above port 3");
});

test.each<Key>([
  { kind: "host", host: "h1" },
  { kind: "bookings", host: "h1" },
  { kind: "cordon", host: "h1" },
  { kind: "claim" },
  { kind: "set", set: "arena" },
  { kind: "event", event: "silent-h1-12" },
  { kind: "placement", berth: "arena-1" },
  { kind: "allocation", berth: "arena-1" },
  { kind: "places", berth: "arena-1", id: "0123456789abcdef" },
  { kind: "assignment", host: "h1", berth: "arena-1" },
  { kind: "hold", host: "h1", berth: "arena-1" },
  { kind: "state", host: "h1", berth: "arena-1" },
])("the key of %j says what it is about", (about) => {
  const keys = new Keys("/a/b/");
  expect(keys.read(keys.of(about))).toEqual(about);
  expect(new Keys("/a/").read(keys.of(about))).toBe(undefined);
});

test("keys of a kind, and of one host, have a common beginning; names come last", () => {
  const keys = new Keys();
  expect(keys.of({ kind: "host", host: "h1" })).toBe("/berthd/hosts/h1");
  expect(keys.of({ kind: "bookings", host: "h1" })).toBe("/berthd/bookings/h1");
  expect(keys.of({ kind: "set", set: "arena" })).toBe("/berthd/sets/arena");
  expect(keys.of({ kind: "placement", berth: "arena-1" })).toBe("/berthd/placements/arena-1");
  expect(keys.of({ kind: "allocation", berth: "arena-1" })).toBe("/berthd/allocations/arena-1");
  expect(keys.of({ kind: "assignment", host: "h1", berth: "arena-1" })).toBe(
    `${keys.allOf("assignment", "h1")}arena-1`,
  );
  expect(keys.of({ kind: "state", host: "h1", berth: "arena-1" })).toBe("/berthd/states/h1/arena-1");
  expect(keys.nameIn("/berthd/states/h1/arena-1")).toBe("arena-1");
  expect(keys.of({ kind: "cordon", host: "h1" })).toBe("/berthd/cordons/h1");
  // An agent learns its berths and its holds by one watch, and tells one from the other.
  const held = keys.of({ kind: "hold", host: "h1", berth: "arena-1" });
  expect(held.startsWith(keys.allOf("assignment", "h1"))).toBe(true);
  expect(keys.heldBy(held)).toBe("arena-1");
  expect(keys.heldBy(keys.of({ kind: "assignment", host: "h1", berth: "hold" }))).toBe(undefined);
  // So with the orders about files, and what a host says of them.
  const [copy, copied] = (["copy", "copied"] as const).map((kind) => keys.of({ kind, host: "h1", berth: "arena-1" }));
  expect([copy, copied]).toEqual([`${keys.allOf("assignment", "h1")}arena-1/copy`, "/berthd/states/h1/arena-1/copy"]);
  expect(keys.read(copy ?? "")).toEqual({ kind: "copy", host: "h1", berth: "arena-1" });
  expect(keys.read(copied ?? "")).toEqual({ kind: "copied", host: "h1", berth: "arena-1" });
  expect(keys.heldBy(copy ?? "")).toBe(undefined);
  // The keys of h1 are no beginning of those of h10.
  expect(keys.of({ kind: "state", host: "h10", berth: "a-1" }).startsWith(keys.allOf("state", "h1"))).toBe(false);
  expect(refusal(() => new Keys("berthd"))).toBe(
    'the prefix "berthd" does not begin and end with a slash: write /NAME/',
  );
});
