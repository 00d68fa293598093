/** Reservations of id ranges: they are permanent, have one owner, and never overlap other ids of the host. */
import { execFileSync } from "node:child_process";
import { mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RANGE_SIZE } from "../../../src/accounts.ts";
import { FdHandle } from "../../../src/fd.ts";
import { F_WRLCK } from "../../../src/file-constants.ts";
import { native } from "../../../src/native.ts";
import { CONTAINER_POOL, parsePool, rangeAt } from "../../../src/rootfs/ranges/range.ts";
import { Ranges, type RangesOptions } from "../../../src/rootfs/ranges/ranges.ts";
import { TestFolder } from "../../support/broker.ts";
import { openFds } from "../../support/fds.ts";
import { scripted } from "../../support/scripted-native.ts";

const FIRST = CONTAINER_POOL.first;
const identity = "         0          0 4294967295\n";

let before: string[];
let folder: TestFolder;
let opened: Ranges[];

beforeEach(() => {
  before = openFds();
  folder = new TestFolder({
    "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/subuid": "",
    "proc/self/uid_map": identity,
    "proc/self/gid_map": identity,
  });
  mkdirSync(`${folder.path}/nspawn`);
  opened = [];
});

afterEach(() => {
  for (const ranges of opened) ranges.close();
  folder[Symbol.dispose]();
  expect(openFds()).toEqual(before);
});

function open(options: RangesOptions = {}): Ranges {
  const host = { etc: `${folder.path}/etc`, proc: `${folder.path}/proc`, nspawn: `${folder.path}/nspawn` };
  const ranges = Ranges.open(`${folder.path}/state/ranges`, { host, ...options });
  opened.push(ranges);
  return ranges;
}

/** Locks a base as systemd-nspawn does for a container. Undefined when nspawn would pick another base. */
function nspawnLock(base: number): FdHandle | undefined {
  const handle = FdHandle.adopt(openSync(`${folder.path}/nspawn/${base}`, "a+"));
  if (native.recordLock(handle.fd, F_WRLCK) >= 0) return handle;
  handle.close();
  return undefined;
}

const file = (): string => `${folder.path}/state/ranges/ranges.json`;
const pool = (count: number) => ({ first: FIRST, last: FIRST + count * RANGE_SIZE - 1 });

describe("a reservation", () => {
  it("is 65,536 aligned ids in systemd's container range, the same for the same owner, for every process and for ever", () => {
    const first = open();
    expect(first.reserve("arena@bob")).toEqual({ base: FIRST, count: 65_536 });
    expect(first.reserve("arena@alice")).toEqual({ base: FIRST + RANGE_SIZE, count: 65_536 });
    expect(open().reserve("arena@bob")).toEqual({ base: FIRST, count: 65_536 });
    first.close();
    expect(open().list()).toMatchObject([
      { owner: "arena@bob", base: FIRST, count: 65_536, since: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) },
      { owner: "arena@alice", base: FIRST + RANGE_SIZE },
    ]);
  });

  it("of several owners is one write: all of them have one afterwards, or nobody new has", () => {
    const ranges = open({ pool: pool(3) });
    ranges.reserve("a");
    ranges.reserveAll(
      new Map([
        ["a", undefined],
        ["b", undefined],
        ["c", 100 * RANGE_SIZE],
        ["d", undefined],
      ]),
    );
    expect(["a", "b", "c", "d", "e"].map((owner) => ranges.of(owner)?.base)).toEqual([
      FIRST,
      FIRST + RANGE_SIZE,
      100 * RANGE_SIZE,
      FIRST + 2 * RANGE_SIZE,
      undefined,
    ]);
    expect(new Set(ranges.list().map(({ since }) => since)).size).toBeLessThanOrEqual(2);
    const written = readFileSync(file(), "utf8");
    expect(() =>
      ranges.reserveAll(
        new Map([
          ["e", 200 * RANGE_SIZE],
          ["f", undefined],
        ]),
      ),
    ).toThrow(expect.objectContaining({ code: "RANGE_UNAVAILABLE" }));
    expect(readFileSync(file(), "utf8")).toBe(written);
    expect(ranges.of("e")).toBeUndefined();
  });

  it("can be of an explicit base, within the pool or not", () => {
    const ranges = open();
    expect(ranges.reserve("a", 100 * RANGE_SIZE).base).toBe(100 * RANGE_SIZE);
    expect(ranges.reserve("b", RANGE_SIZE).base).toBe(RANGE_SIZE);
    expect(ranges.reserve("a", 100 * RANGE_SIZE).base).toBe(100 * RANGE_SIZE);
    expect(ranges.reserve("c").base).toBe(FIRST);
  });

  it.each([
    [0, "no range starts at 0"],
    [FIRST + 1, "no range starts at 524289"],
    [2 ** 31, "no range starts at 2147483648"],
    [Number.NaN, "no range starts at NaN"],
    [2_147_352_576, "systemd uses them for foreign files"],
  ])("of the base %d is refused", (base, message) => {
    const ranges = open();
    expect(() => ranges.reserve("a", base)).toThrow(message);
    expect(ranges.list()).toEqual([]);
  });

  it("of a base that another has, or beside the one it has, is refused with the owner's name", () => {
    const ranges = open();
    ranges.reserve("a");
    expect(() => ranges.reserve("b", FIRST)).toThrow(
      expect.objectContaining({ code: "RANGE_UNAVAILABLE", message: expect.stringContaining("reserved for a") }),
    );
    expect(() => ranges.reserve("a", FIRST + RANGE_SIZE)).toThrow(
      expect.objectContaining({ code: "RANGE_UNAVAILABLE", message: expect.stringContaining("berth range forget a") }),
    );
    expect(ranges.list()).toHaveLength(1);
  });

  it("ends only when it is forgotten, and its ids are not another's at once", () => {
    const ranges = open({ pool: pool(3) });
    ranges.reserve("a");
    ranges.reserve("b");
    expect(ranges.forget("b")).toBe(true);
    expect(ranges.forget("b")).toBe(false);
    expect(ranges.reserve("c").base).toBe(FIRST + 2 * RANGE_SIZE);
    expect(ranges.reserve("d").base).toBe(FIRST + RANGE_SIZE);
    expect(() => ranges.reserve("e")).toThrow(
      expect.objectContaining({
        code: "RANGE_UNAVAILABLE",
        message: expect.stringMatching(/^no 65536 ids are free between 524288 and 720895; list the ranges/),
      }),
    );
  });
});

describe("a free range is not one that", () => {
  const cases: readonly (readonly [string, Readonly<Record<string, string>>, string])[] = [
    ["/etc/subuid gives to a user", { "etc/subuid": `alice:${FIRST + 65_535}:1\n` }, "/etc/subuid gives them to alice"],
    ["/etc/subgid gives to a user", { "etc/subgid": `# x\n\nalice:${FIRST - 10}:11\n` }, "/etc/subgid gives them"],
    ["a user in passwd has", { "etc/passwd": `eve:x:${FIRST + 7}:1::/:/bin/sh\n` }, "the user eve has it"],
    ["a group has", { "etc/group": `eves:x:${FIRST + 7}:\n` }, "the group eves has it"],
    ["a living user namespace maps", { "proc/77/uid_map": `0 ${FIRST + 9} 1\n` }, "process 77 uses them"],
    ["a living user namespace maps for groups", { "proc/77/gid_map": `0 1 1\n5 ${FIRST} 2\n` }, "process 77 uses them"],
  ];

  it.each(cases)("%s", (_what, files, message) => {
    folder.write(files);
    const ranges = open();
    expect(ranges.reserve("a").base).toBe(FIRST + RANGE_SIZE);
    expect(() => ranges.reserve("b", FIRST)).toThrow(message);
  });

  it("a user of the name service has", () => {
    const entry = { name: "ldap", uid: FIRST, gid: 1, groups: [], home: "/", shell: "/bin/sh" };
    const sys = scripted({ passwd: (user) => (user === FIRST ? entry : undefined) });
    expect(open({ sys }).reserve("a").base).toBe(FIRST + RANGE_SIZE);
  });

  it("our own user namespace does not have", () => {
    folder.write({ "proc/self/gid_map": `0 100000 ${FIRST + 2 * RANGE_SIZE}\n` });
    const ranges = open();
    expect(ranges.reserve("a").base).toBe(FIRST);
    ranges.reserve("b");
    expect(() => ranges.reserve("c")).toThrow("no 65536 ids are free");
    expect(() => ranges.reserve("c", FIRST + 2 * RANGE_SIZE)).toThrow("berthd runs in does not have them");
  });

  it("systemd-nspawn has locked; and nspawn cannot lock ours, those of berths that are gone included", () => {
    const host = `${folder.path}/nspawn`;
    const theirs = nspawnLock(FIRST);
    expect(theirs).toBeDefined();
    const ranges = open();
    expect(ranges.reserve("a").base).toBe(FIRST + RANGE_SIZE);
    ranges.reserve("gone");
    ranges.close();
    expect(readdirSync(host)).toEqual([String(FIRST)]);
    expect(open().reserve("a").base).toBe(FIRST + RANGE_SIZE);
    for (const base of [1, 2]) expect(nspawnLock(FIRST + base * RANGE_SIZE)).toBeUndefined();
    theirs?.close();
  });

  it("systemd-nspawn has locked since: then the owner is refused, until the container has gone", () => {
    open().reserve("a");
    opened.pop()?.close();
    const theirs = nspawnLock(FIRST);
    const ranges = open();
    expect(() => ranges.reserve("a")).toThrow("a container of systemd-nspawn runs on a's ids, from 524288");
    theirs?.close();
    expect(ranges.reserve("a").base).toBe(FIRST);
  });
});

it("maps of every id onto itself, of processes that share our namespace, and entries for berthd take nothing away", () => {
  folder.write({
    "proc/7/uid_map": identity,
    "proc/8/uid_map": "0 0 4294967295\n",
    "etc/subuid": `berthd:${FIRST}:${RANGE_SIZE}\n`,
  });
  expect(open().reserve("a").base).toBe(FIRST);
});

it("a broker with another state folder gets other ranges while this one runs", () => {
  const host = { etc: `${folder.path}/etc`, proc: `${folder.path}/proc`, nspawn: `${folder.path}/nspawn` };
  const ours = open();
  ours.reserve("a");
  const other = Ranges.open(`${folder.path}/other/ranges`, { host });
  opened.push(other);
  expect(other.reserve("a").base).toBe(FIRST + RANGE_SIZE);
  expect(() => other.reserve("b", FIRST)).toThrow("systemd-nspawn or another broker uses them");
  ours.close();
  expect(other.reserve("b", FIRST).base).toBe(FIRST);
});

it("without systemd, or without the right to take nspawn's locks, ranges are reserved all the same", () => {
  rmSync(`${folder.path}/nspawn`, { recursive: true });
  const host = { etc: `${folder.path}/etc`, proc: `${folder.path}/proc`, nspawn: `${folder.path}/none/nspawn` };
  expect(open({ host }).reserve("a").base).toBe(FIRST);
});

describe("damage is never taken for no reservations:", () => {
  const entry = { owner: "a", ...rangeAt(FIRST), since: "2026-01-01T00:00:00Z" };
  const other = { ...entry, owner: "b", base: FIRST + RANGE_SIZE };
  it.each([
    ["no JSON", "{"],
    ["cut short", '{"version": 1, "ranges": [{"owner": "a", "ba'],
    ["empty", ""],
    ["another version", JSON.stringify({ version: 2, ranges: [] })],
    ["no ranges", JSON.stringify({ version: 1 })],
    ["a range that is not aligned", JSON.stringify({ version: 1, ranges: [{ ...entry, base: FIRST + 5 }] })],
    ["a range of another size", JSON.stringify({ version: 1, ranges: [{ ...entry, count: 1 }] })],
    ["a range without an owner", JSON.stringify({ version: 1, ranges: [{ ...entry, owner: "" }] })],
    ["two owners of one range", JSON.stringify({ version: 1, ranges: [entry, { ...other, base: FIRST }] })],
    ["two ranges of one owner", JSON.stringify({ version: 1, ranges: [entry, { ...other, owner: "a" }] })],
  ])("%s", (_what, text) => {
    const ranges = open();
    ranges.reserve("a");
    writeFileSync(file(), text);
    expect(() => ranges.reserve("b")).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
    expect(() => open()).toThrow(file());
    expect(readFileSync(file(), "utf8")).toBe(text);
  });

  it("no file", () => {
    const ranges = open();
    ranges.reserve("a");
    rmSync(file());
    expect(() => ranges.reserve("b")).toThrow(/ranges\.json: it is missing; restore it/);
    expect(() => open()).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
  });
});

it("a full disk, or any other refusal, is an error, and the reservations are as they were", () => {
  const ranges = open();
  ranges.reserve("a");
  mkdirSync(`${file()}.new`); // open(2) for writing is EISDIR
  expect(() => ranges.reserve("b")).toThrow(
    expect.objectContaining({ code: "SYSTEM_ERROR", errno: constants.errno.EISDIR }),
  );
  expect(ranges.list().map(({ owner }) => owner)).toEqual(["a"]);
});

it("whatever is reserved and forgotten in whatever order, no id has two owners and no owner two ranges", () => {
  const owner = fc.constantFrom(..."abcdefgh");
  const step = fc.oneof(
    fc.record({ do: fc.constant("reserve" as const), owner, slot: fc.option(fc.nat(11), { nil: undefined }) }),
    fc.record({ do: fc.constant("forget" as const), owner }),
    fc.record({ do: fc.constant("reopen" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), fc.nat(11), (steps, alien) => {
      rmSync(`${folder.path}/state`, { recursive: true, force: true });
      folder.write({ "etc/subuid": `alien:${FIRST + alien * RANGE_SIZE + 5}:1\n` });
      const model = new Map<string, number>();
      let ranges = open({ pool: pool(6) });
      for (const step of steps) {
        if (step.do === "reopen") {
          ranges.close();
          ranges = open({ pool: pool(6) });
        } else if (step.do === "forget") {
          expect(ranges.forget(step.owner)).toBe(model.delete(step.owner));
        } else {
          const wanted = step.slot === undefined ? undefined : FIRST + step.slot * RANGE_SIZE;
          const had = model.get(step.owner);
          try {
            const { base } = ranges.reserve(step.owner, wanted);
            expect(base).toBe(had ?? wanted ?? base);
            model.set(step.owner, base);
          } catch (error) {
            expect(error).toMatchObject({ code: "RANGE_UNAVAILABLE" });
            expect(had).not.toBe(wanted ?? had ?? -1);
          }
        }
        const bases = [...model.values()];
        expect(new Set(bases).size).toBe(bases.length);
        expect(bases).not.toContain(FIRST + alien * RANGE_SIZE);
        expect(new Map(ranges.list().map(({ owner, base }) => [owner, base]))).toEqual(model);
      }
      ranges.close();
    }),
    { numRuns: 60 },
  );
});

it("the pool is written FIRST-LAST, and must have room for a range", () => {
  expect(parsePool("0x80000-0x6fffffff")).toEqual(CONTAINER_POOL);
  expect(parsePool("65536-131071")).toEqual({ first: 65_536, last: 131_071 });
  for (const text of ["", "65537-131071", "1-2", "131072-65536", "a-b", "0-65535", "524288-4294967295"]) {
    expect(() => parsePool(text), text).toThrow(expect.objectContaining({ code: "USAGE" }));
  }
});

it("this host's own ids are found: those of root are never given away", () => {
  const ranges = Ranges.open(`${folder.path}/state/ranges`, {
    host: { etc: "/etc", proc: "/proc", nspawn: `${folder.path}/nspawn` },
  });
  opened.push(ranges);
  const { base } = ranges.reserve("a");
  const users = execFileSync("getent", ["passwd"], { encoding: "utf8" })
    .split("\n")
    .map((line) => Number(line.split(":")[2]));
  expect(users.filter((uid) => uid >= base && uid < base + RANGE_SIZE)).toEqual([]);
});
