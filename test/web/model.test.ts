/** What a berth is called, why, and what goes into its timeline: the pure parts. */
import { describe, expect, it } from "vitest";
import type { BerthRow } from "../../packages/web/src/api/shapes.ts";
import { playerAddress } from "../../packages/web/src/model/address.ts";
import { Berths } from "../../packages/web/src/model/berths.ts";
import { happeningOf } from "../../packages/web/src/model/happening.ts";
import { PlayersOfADay } from "../../packages/web/src/model/known.ts";
import { type Measured, measuredOf } from "../../packages/web/src/model/measured.ts";
import { patchOf } from "../../packages/web/src/model/patch.ts";
import { rowOf } from "../../packages/web/src/model/row.ts";
import { causeOf } from "../../packages/web/src/model/state.ts";
import { clean, duration } from "../../packages/web/src/model/text.ts";
import { Users } from "../../packages/web/src/model/users.ts";
import { whyOf } from "../../packages/web/src/model/why.ts";
import type { Berth } from "../../src/varlink/interfaces/io.berthd.Broker.types.ts";

const vacant: Berth = {
  name: "arena",
  state: "vacant",
  descriptors: [{ name: "game", kind: "datagram", address: "udp://0.0.0.0:27960" }],
};
const lease = { id: "l1", pid: 1, uid: 0, unit: "berth@arena.service" };
const occupied: Berth = { ...vacant, state: "occupied", lease, ready: false };
const now = 1_800_000_000_000;

function known(record: Berth, event: "present" | "acquired" = "acquired") {
  const berths = new Berths(new Users());
  berths.apply({ event, berth: record }, now);
  const found = berths.get(record.name);
  if (found === undefined) throw new Error("not there");
  return { berths, found };
}

const measured = (more: Partial<Measured>): Map<string, Measured> =>
  new Map([
    [
      "arena",
      {
        memory: null,
        memoryLimit: null,
        cpuSeconds: null,
        restarts: 0,
        sockets: [],
        drops: null,
        queue: null,
        queueLimit: null,
        queueFullness: 0,
        ...more,
      },
    ],
  ]);

describe("the word for a berth", () => {
  const start = { state: "failed", failures: 5, reason: "out of memory", signal: "SIGKILL", next: now * 1000 } as const;
  const problem = { file: "/etc/berthd/arena.toml", line: 3, message: "the port is in use", remedy: "end it" };
  const words: [string, Berth][] = [
    ["vacant", vacant],
    ["asleep", { ...vacant, start: { state: "waiting", failures: 0 } }],
    ["starting", { ...vacant, start: { state: "queued", failures: 0 } }],
    ["failed", { ...vacant, start }],
    ["failed", { ...vacant, problems: [problem] }],
    ["failed", { ...vacant, wait: { for: "lock", pid: 7, message: "pid 7 has its lock" } }],
    ["serving", occupied],
    ["serving", { ...occupied, outdated: true }],
    ["problem", { ...occupied, problems: [problem] }],
    ["handover", { ...occupied, state: "handover" }],
    ["draining", { ...occupied, drain: { began: now * 1000 } }],
    ["handover", { ...occupied, state: "handover", drain: { began: now * 1000 } }],
    ["problem", { ...occupied, problems: [problem], drain: { began: now * 1000 } }],
  ];
  it.each(words)("is %s", (word, record) => expect(known(record).found.state).toBe(word));

  it("is starting only for servers that say when they are ready: others serve at once", () => {
    const { berths, found } = known({ ...occupied, ready: true });
    berths.apply({ event: "released", berth: vacant }, now + 1000);
    berths.apply({ event: "acquired", berth: { ...occupied, lease: { ...lease, id: "l2" } } }, now + 2000);
    expect([found.state, found.since]).toEqual(["starting", now + 2000]);
  });

  it("has a cause and remedies to copy, where somebody is needed", () => {
    const { found } = known({ ...vacant, start });
    expect(causeOf(found, now)).toBe("SIGKILL, 5×");
    const why = whyOf(found, now);
    expect(why).toMatchObject({ kind: "not-running", next: now });
    expect(why?.remedies.map(({ command }) => command)).toEqual(["berth logs arena", "berth start arena"]);
    const broken = known({ ...vacant, problems: [problem, problem] }).found;
    expect(whyOf(broken, now)?.text).toBe(
      "/etc/berthd/arena.toml:3: the port is in use. End it. There is 1 more problem.",
    );
  });

  it.each<[string, Berth, string]>([
    [
      "vacant",
      vacant,
      "No server runs. The port is open: packets and connections wait in the kernel until one starts.",
    ],
    [
      "asleep",
      { ...vacant, start: { state: "waiting", failures: 0 } },
      "Its port is open: the first packet or connection starts its server.",
    ],
    [
      "failed",
      { ...vacant, start },
      "Its server did not start 5 times in a row: out of memory. The port stays open: packets and connections wait in the kernel.",
    ],
    [
      "handover",
      { ...occupied, state: "handover" },
      "A new server takes over. Both have the sockets. The old one goes on until the new one is ready.",
    ],
  ])("is explained in plain words: %s", (word, record, text) => {
    const { found } = known(record);
    expect([found.state, whyOf(found, now)?.text]).toEqual([word, text]);
  });

  it("is draining until a deadline, or until nobody plays, with the command that cancels it", () => {
    const drain = { began: now * 1000, deadline: (now + 60_000) * 1000 };
    const { found } = known({ ...occupied, drain });
    const place = { host: "h", address: null, users: new Users() };
    expect(rowOf(found, place, now).drain).toEqual({ began: now, deadline: now + 60_000 });
    expect(whyOf(found, now)).toMatchObject({ kind: "now", text: expect.stringMatching(/at the latest/) });
    expect(whyOf(found, now)?.remedies.map(({ command }) => command)).toEqual(["berth drain --cancel arena"]);
    const open = known({ ...occupied, drain: { began: now * 1000 } }).found;
    expect(rowOf(open, place, now).drain).toEqual({ began: now, deadline: null });
    expect(whyOf(open, now)?.text).toBe("Its server stops once nobody plays.");
  });

  it("is problem while packets are lost, and five minutes after", () => {
    const { berths, found } = known(occupied);
    const at = (seconds: number) => now + seconds * 1000;
    berths.measured(measured({ drops: 100, cpuSeconds: 1 }), at(1), "h");
    expect(found.state).toBe("serving");
    const [sample] = berths.measured(measured({ drops: 1304, cpuSeconds: 6 }), at(11), "h");
    expect(sample).toMatchObject({ drops: 1204, cpu: 0.5 });
    expect([found.state, causeOf(found, at(11))]).toEqual(["problem", "1,204 packets lost"]);
    expect(whyOf(found, at(11))?.remedies[0]?.command).toBe('[sockets.game]\nreceive-buffer = "4M"');
    berths.tick(at(311));
    expect([found.state, found.since]).toEqual(["serving", now]);
  });

  it("is problem when memory runs out, with the unit to give more to", () => {
    const { berths, found } = known(occupied);
    berths.measured(measured({ memory: 96 * 2 ** 20, memoryLimit: 100 * 2 ** 20 }), now + 1000, "h");
    expect(causeOf(found, now + 1000)).toBe("memory 96 % full");
    expect(whyOf(found, now)?.text).toContain("uses 96 MB of the 100 MB that it may use");
    expect(whyOf(found, now)?.remedies[0]?.command).toBe("systemctl set-property berth@arena.service MemoryMax=150M");
  });
});

describe("the timeline", () => {
  const uids = (uid: number): string => (uid === 0 ? "root" : String(uid));
  const told = (event: Parameters<typeof happeningOf>[0]["event"], berth: Berth, before?: Berth) =>
    happeningOf({ event, berth }, { record: before, leasedAt: now - 65_000 }, now, uids);

  it("says who took the berth, and how it ended", () => {
    expect(told("acquired", occupied)).toMatchObject({
      kind: "lease",
      text: "Lease taken by pid 1",
      detail: "user root, berth@arena.service",
    });
    expect(told("ready", occupied)).toMatchObject({ kind: "ready", detail: "after 1 min" });
    const demand: Berth = { ...vacant, start: { state: "running", failures: 0 } };
    expect(told("released", demand, occupied)).toMatchObject({ kind: "released", detail: "after 1 min" });
    expect(told("present", vacant)).toBe(undefined);
  });

  it("says where it is known why a server ended that the broker did not start, or that it is not known", () => {
    const bare: Berth = { ...occupied, lease: { ...lease, unit: null } };
    expect(told("released", vacant, occupied)?.detail).toBe("after 1 min; why: systemctl status berth@arena.service");
    expect(told("released", vacant, bare)?.detail).toBe(
      "after 1 min; why is not known: the broker did not start this server",
    );
  });

  it("tells a takeover that was completed from one that was given up", () => {
    const handover: Berth = { ...occupied, state: "handover" };
    const other = { ...occupied, lease: { ...lease, id: "l2", pid: 9 } };
    expect(told("released", other, handover)).toMatchObject({
      kind: "takeover",
      detail: expect.stringMatching(/pid 9/),
    });
    expect(told("released", occupied, handover)).toMatchObject({ text: "Handover given up" });
  });

  it("tells a drain from another configuration", () => {
    const drain = { began: now * 1000, deadline: (now + 600_000) * 1000 };
    const draining: Berth = { ...occupied, drain };
    expect(told("changed", occupied, occupied)).toMatchObject({ kind: "changed", text: "Configuration changed" });
    expect(told("changed", draining, draining)).toMatchObject({ kind: "changed" });
    expect(told("changed", draining, occupied)).toMatchObject({
      kind: "drain",
      text: "Drain begun",
      detail: "its server stops once nobody plays, at the latest in 10 min",
    });
    const open: Berth = { ...occupied, drain: { began: drain.began } };
    expect(told("changed", open, draining)).toMatchObject({ kind: "drain", text: "Drain has another deadline" });
    expect(told("changed", occupied, draining)).toMatchObject({ kind: "drain", text: "Drain ended" });
  });

  it("says what woke a server", () => {
    const woken = told("starting", { ...vacant, wake: { at: 1, cause: "datagram", socket: "game" } });
    expect(woken).toMatchObject({ kind: "wake", text: "Woke: a packet came", detail: "at socket game" });
    expect(told("starting", vacant)?.text).toBe("Woke: a packet or connection came");
  });

  it("names the signal or the status of a crash", () => {
    const failed = (more: object): Berth => ({ ...vacant, start: { state: "failed", failures: 1, ...more } });
    expect(told("failed", failed({ signal: "SIGSEGV" }))).toMatchObject({ kind: "crash", text: "Crashed: SIGSEGV" });
    expect(told("failed", failed({ status: 3 }))).toMatchObject({ kind: "crash", text: "Ended with status 3" });
    expect(told("failed", failed({ reason: "no\u0007 such\u202e image" }))).toMatchObject({
      kind: "failed",
      detail: "no such image",
    });
  });
});

it("since when a berth is as it is, and what is newer, are the broker's words where it has them", () => {
  const since = (now - 5_000) * 1000;
  const present = known({ ...occupied, since, lease: { ...lease, since } }, "present").found;
  expect([present.since, present.leasedAt]).toEqual([now - 5_000, now - 5_000]);
  const root = { images: ["arena@2.4.1"], state: "persistent", newer: ["arena@2.5.0"] } as const;
  const place = { host: "h", address: null, users: new Users() };
  const { found } = known({ ...occupied, root, outdated: true, restarts: 3 });
  expect(rowOf(found, place, now)).toMatchObject({
    outdated: { image: "arena@2.5.0", configuration: true },
    image: "arena@2.4.1",
    restarts: 3,
  });
  expect(whyOf(found, now)?.text).toBe(
    "Its configuration has changed since its server started. The next server gets the image arena@2.5.0.",
  );
});

it("measurements of a berth's sockets are put together", () => {
  const of = (name: string, value: number, fields?: Record<string, string>) => ({
    name: `io.berthd.Broker.${name}`,
    value,
    object: "arena",
    ...(fields !== undefined && { fields }),
  });
  const [v4, v6] = [
    { socket: "game", address: "udp://0.0.0.0:1" },
    { socket: "game", address: "udp://[::]:1" },
  ];
  const all = measuredOf([
    of("QueueBytes", 90, v4),
    of("QueueLimitBytes", 100, v4),
    of("QueueBytes", 10, v6),
    of("QueueLimitBytes", 100, v6),
    of("Drops", 5, v4),
    of("Drops", 2, v6),
    of("TenantMemoryBytes", 7),
    { name: "io.berthd.Broker.Connections", value: 3 },
    { name: "org.other.Memory", value: 3, object: "arena" },
  ]);
  expect([...all.keys()]).toEqual(["arena"]);
  expect(all.get("arena")).toMatchObject({ queue: 90, queueFullness: 0.9, drops: 7, memory: 7, cpuSeconds: null });
  expect(all.get("arena")?.sockets).toHaveLength(2);
});

it("the address for players is that of the game, with a name for a wildcard", () => {
  const [tcp, udp] = [
    { name: "web", kind: "stream", address: "tcp://127.0.0.1:80" },
    { name: "game", kind: "datagram", address: "udp://[::]:5" },
  ] as const;
  expect(playerAddress([tcp, udp], "2001:db8::1")).toEqual({ address: "[2001:db8::1]:5", protocol: "udp" });
  expect(playerAddress([udp], null)).toEqual({ address: null, protocol: "udp" });
  expect(playerAddress([tcp], "x.example")).toEqual({ address: "127.0.0.1:80", protocol: "tcp" });
  const local = { name: "a", kind: "stream", address: "unix:///run/a.sock" } as const;
  expect(playerAddress([local], "x.example")).toEqual({ address: null, protocol: "unix" });
});

it("a patch has the fields that changed, what is new whole, and what is gone by name", () => {
  const { found } = known(vacant);
  const place = { host: "h", address: "x.example", users: new Users() };
  const row: BerthRow = rowOf(found, place, now);
  const before = { hosts: [], berths: [row, { ...row, name: "old" }] };
  const after = {
    hosts: [],
    berths: [
      { ...row, players: 4 },
      { ...row, name: "new" },
    ],
  };
  expect(patchOf(before, after, now)).toEqual({
    at: now,
    hosts: [],
    berths: [
      { host: "h", name: "arena", players: 4 },
      { ...row, name: "new" },
    ],
    removed: [{ host: "h", name: "old" }],
  });
  expect(
    patchOf(before, { hosts: [], berths: before.berths.map((one) => ({ ...one, spark: [...one.spark] })) }, now),
  ).toBe(undefined);
});

it("a sparkline has the half hours that are over", () => {
  const day = new PlayersOfADay();
  const slot = Math.floor(now / 1_800_000) * 1_800_000;
  day.restore(slot - 3_600_000, 2.04);
  day.add(slot - 1000, 3);
  day.add(slot - 900, 6);
  day.add(slot + 1, 99);
  expect(day.spark(slot + 2).slice(-3)).toEqual([null, 2, 4.5]);
  expect(day.spark(slot + 25 * 3_600_000).filter((mean) => mean !== null)).toEqual([]);
});

it("text of strangers is without control and direction characters, and short", () => {
  expect(clean("a\u001b[31mb\u202ec\n<script>", 50)).toBe("a [31mb c <script>");
  expect(clean("x".repeat(100), 10)).toBe(`${"x".repeat(9)}…`);
  expect([4_130, 59_999, 3_660_000, 90_000_000].map(duration)).toEqual(["4.1 s", "59 s", "1 h 01 min", "1 d 1 h"]);
});
