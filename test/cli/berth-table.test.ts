/** What people read in `berth ls`: the state of each berth, what to do about it, and lines that fit a terminal. */
import { describe, expect, test } from "vitest";
import { adviceOf, commandOf, stateOf } from "../../src/berth-state.ts";
import type { BerthRecord } from "../../src/cli/berths/berth-records.ts";
import { berthTable, TABLE_WIDTH } from "../../src/cli/berths/berth-table.ts";
import { renderTable, wrap } from "../../src/cli/print/table.ts";

const vacant: BerthRecord = { name: "arena", state: "vacant", descriptors: [] };
const lease = { id: "1", pid: 4_194_304, uid: 4_000_000_000 };
const occupied: BerthRecord = { ...vacant, state: "occupied", lease };
const problem = {
  file: "/etc/berthd/arena.toml",
  line: 2,
  message: "port 279600 is above 65535",
  remedy: "write less",
};
const failed = { state: "failed", failures: 1, reason: "no such program" } as const;

describe("the state that people read", () => {
  test.each<[string, BerthRecord, string | undefined]>([
    ["vacant", vacant, undefined],
    ["vacant", { ...vacant, start: { state: "waiting", failures: 2, reason: "it was so before" } }, undefined],
    ["occupied", occupied, undefined],
    ["occupied", { ...occupied, start: { state: "running", failures: 0 } }, undefined],
    ["handover", { ...occupied, state: "handover", outdated: true }, undefined],
    ["starting", { ...vacant, start: { state: "queued", failures: 0 } }, undefined],
    ["starting", { ...vacant, start: { state: "starting", failures: 0 } }, undefined],
    ["problem", { ...vacant, problems: [problem] }, "/etc/berthd/arena.toml:2: port 279600 is above 65535; write less"],
    [
      "problem",
      { ...occupied, outdated: true, problems: [problem, problem, problem] },
      "/etc/berthd/arena.toml:2: port 279600 is above 65535; write less; and 2 more: berth show arena",
    ],
    ["waiting", { ...vacant, wait: { for: "lock", message: "pid 7 holds it" } }, "pid 7 holds it"],
    ["failed", { ...vacant, start: failed }, "its server did not start: no such program"],
    [
      "failed",
      { ...vacant, start: { ...failed, failures: 3, next: 1_700_000_000_500_000 } },
      "its server did not start, 3 times: no such program; next try at 2023-11-14T22:13:20Z",
    ],
    [
      "outdated",
      { ...occupied, outdated: true, older: ["udp://127.0.0.1:41001"] },
      "has udp://127.0.0.1:41001 of an older configuration; restart it: berth restart arena",
    ],
    [
      "outdated",
      { ...occupied, outdated: true, lease: { ...lease, unit: "berth@arena.service" } },
      "has settings of an older configuration; restart it: berth restart arena",
    ],
    [
      "outdated",
      { ...occupied, root: { images: ["base@1", "arena@1"], state: "persistent", newer: ["base@1", "arena@2"] } },
      "has base@1 + arena@1; its image is base@1 + arena@2 now; restart it: berth restart arena",
    ],
    [
      "outdated",
      { ...occupied, outdated: true, root: { images: ["arena@1"], state: "volatile", newer: ["arena@2"] } },
      "has settings of an older configuration; its image is arena@2 now; restart it: berth restart arena",
    ],
  ])("is %s for %j", (state, berth, advice) => {
    expect([stateOf(berth), adviceOf(berth)]).toEqual([state, advice]);
    const table = berthTable([berth], false, 1000);
    expect(table).toMatch(new RegExp(`^NAME .*\n${berth.name} +${state} `));
    expect(table.split("\n").slice(2).join("\n")).toBe(advice === undefined ? "" : `arena: ${advice}\n`);
  });
});

describe("a drain", () => {
  const now = Date.parse("2026-01-31T12:00:00Z");
  const keep = "to keep its server: berth drain --cancel arena";
  test.each<[number | undefined, number | undefined, string]>([
    [undefined, undefined, "its server stops once nobody plays"],
    [undefined, 1, "its server stops once nobody plays; 1 plays"],
    [723, 7, "its server stops once nobody plays, at the latest in 12:03 (2026-01-31T12:12:03Z); 7 play"],
    [3600 + 62, 0, "its server stops once nobody plays, at the latest in 1:01:02 (2026-01-31T13:01:02Z); 0 play"],
    [-5, undefined, "its server stops once nobody plays, at the latest in 0:00 (2026-01-31T11:59:55Z)"],
  ])("of %s s left, with %s players, is a sentence", (seconds, count, sentence) => {
    const deadline = seconds === undefined ? undefined : (now + seconds * 1000) * 1000;
    const players = count === undefined ? undefined : { count, at: now * 1000 };
    const berth: BerthRecord = { ...occupied, outdated: true, drain: { began: now * 1000, deadline }, players };
    expect([stateOf(berth), adviceOf(berth, now)]).toEqual(["draining", `${sentence}; ${keep}`]);
  });

  test("during a handover is not what people read first", () => {
    expect(stateOf({ ...occupied, state: "handover", drain: { began: 1 } })).toBe("handover");
  });
});

test("players have a column as soon as they are known of any berth", () => {
  const at = 1_700_000_000_000_000;
  const rows = (...berths: BerthRecord[]): string[][] =>
    berthTable(berths, false, 1000)
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/ {2,}/));
  expect(rows(vacant, occupied)[0]).not.toContain("PLAYERS");
  const known = [
    vacant,
    { ...occupied, players: { count: 7, max: 16, at } },
    { ...occupied, players: { count: 0, at } },
  ];
  const [titles = [], ...shown] = rows(...known);
  const column = titles.indexOf("PLAYERS");
  expect(titles[column + 1]).toBe("SOCKETS");
  expect(shown.map((cells) => cells[column])).toEqual(["-", "7/16", "0"]);
});

test.each<[BerthRecord, string | undefined]>([
  [vacant, undefined],
  [occupied, undefined],
  [{ ...occupied, outdated: true }, "berth restart arena"],
  [{ ...occupied, drain: { began: 1 } }, "berth drain --cancel arena"],
  [{ ...vacant, start: failed }, "berth logs arena"],
  [{ ...vacant, problems: [problem] }, "berth check"],
  [{ ...vacant, wait: { for: "lock", message: "pid 7 holds it" } }, "berth show arena"],
])("the command that helps with %j is %s", (berth, command) => {
  expect(commandOf(berth)).toBe(command);
});

describe("80 columns", () => {
  const part = "a".repeat(64);
  const descriptors = [
    "udp://0.0.0.0:27960",
    `unix:///run/${"b".repeat(90)}`,
    "tcp://[2001:db8:1:2:3:4:5:6]:27960",
  ].map((address) => ({ name: "game", kind: "stream" as const, address }));
  const berths: BerthRecord[] = [
    { ...occupied, name: "a", descriptors },
    { ...occupied, name: `${part}@${part}`, descriptors, outdated: true, older: [part, part] },
    { ...vacant, name: "broken", problems: [{ ...problem, file: `/etc/${"c".repeat(100)}` }] },
  ];

  test.each([80, 40, 20])("%i columns hold every line, whatever the names, and nothing is lost", (room) => {
    const table = berthTable(berths, false, room);
    for (const line of table.split("\n")) expect(line.length).toBeLessThanOrEqual(room);
    const letters = (letter: string): number => table.split(letter).length - 1;
    expect([letters("b") >= 180, letters("c") >= 100]).toEqual([true, true]);
  });

  test("are the width where there is no terminal", () => {
    expect(berthTable(berths, false)).toBe(berthTable(berths, false, TABLE_WIDTH));
    expect(TABLE_WIDTH).toBe(80);
  });

  test("a name stays whole as long as the sockets can go on below", () => {
    const name = "arena-of-the-long-winter";
    const rows = berthTable([{ ...vacant, name, descriptors: descriptors.slice(0, 1) }], false).split("\n");
    expect(rows[1]).toBe(`${name}  vacant  -    -     game=udp://0.0.0.0:27960`);
    const [first = "", second = ""] = berthTable([{ ...vacant, name, descriptors }], false)
      .split("\n")
      .slice(1);
    expect(first).toMatch(new RegExp(`^${name} {2}vacant`));
    expect(second).toMatch(/^ {45}\S/);
  });
});

describe("a table", () => {
  test("without a width has one line for each row", () => {
    expect(
      renderTable(
        [
          [{ text: "a" }, { text: "b c" }],
          [{ text: "long" }, { text: "" }],
        ],
        false,
      ),
    ).toBe("a     b c\nlong\n");
  });

  test("paints each piece of a text, and no gap", () => {
    expect(renderTable([[{ text: "one two", style: "red" }, { text: "x" }]], true, 6)).toBe(
      "\u001b[31mone\u001b[39m  x\n\u001b[31mtwo\u001b[39m\n",
    );
  });

  test.each([
    ["one two", 7, ["one two"]],
    ["one two three", 7, ["one two", "three"]],
    ["abcdefgh ij", 3, ["abc", "def", "gh", "ij"]],
    ["a abcdef", 3, ["a", "abc", "def"]],
    ["", 3, [""]],
  ])("breaks %j at %i", (text, room, lines) => {
    expect(wrap(text, room)).toEqual(lines);
  });
});
