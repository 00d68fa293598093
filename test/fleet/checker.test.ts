/** scripts/fleet/check.mjs: that it finds each kind of wrong in a history, and nothing in a right one. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";

type Event = Readonly<Record<string, unknown>>;

/** What the program says of a history, without the counts in its last line. */
function check(history: readonly Event[]): { readonly status: number | null; readonly said: string[] } {
  const input = history.map((event) => JSON.stringify(event)).join("\n");
  const program = join(packageRoot, "scripts/fleet/check.mjs");
  const { status, stdout } = spawnSync(process.execPath, [program], { input, encoding: "utf8" });
  return { status, said: stdout.trimEnd().split("\n").slice(0, -1) };
}

const put = (revision: number, key: string, value: unknown): Event => ({
  ...{ kind: "put", revision, key, value: JSON.stringify(value) },
});
const removed = (revision: number, key: string): Event => ({ kind: "removed", revision, key });

/** One transaction that places a berth, as the only one of its host. */
const place = (revision: number, host: string, berth: string, generation: number, port = 27000): Event[] => [
  put(revision, `placements/${berth}`, { berth, host, generation, ports: { game: port } }),
  put(revision, `assignments/${host}/${berth}`, { berth, generation }),
  put(revision, `bookings/${host}`, { berths: { [berth]: { ports: [port] } } }),
];

const started = (host: string, berth: string, generation: number, ms: number): Event => ({
  ...{ kind: "started", host, berth, generation, ms },
});
const ended = (host: string, berth: string, generation: number, ms: number): Event => ({
  ...{ kind: "ended", host, berth, generation, ms },
});

const hosts = [put(2, "hosts/h1", {}), put(3, "hosts/h2", {})];
const report = put(5, "states/h1/a-1", { berth: "a-1", server: "s1" });
const allocated = (revision: number, generation = 4, server = "s1"): Event =>
  put(revision, "allocations/a-1", { berth: "a-1", generation, server });

/** Placed, served, allocated; its host is lost; placed again elsewhere. */
const right: readonly Event[] = [
  ...[...hosts, ...place(4, "h1", "a-1", 4), report, allocated(6)],
  ...[removed(7, "hosts/h1"), removed(7, "states/h1/a-1")],
  ...[put(8, "bookings/h1", { berths: {} }), removed(8, "assignments/h1/a-1"), removed(8, "allocations/a-1")],
  ...place(8, "h2", "a-1", 8),
  started("h1", "a-1", 4, 1_000),
  started("h2", "a-1", 8, 9_000),
  ended("h1", "a-1", 4, 11_000),
  { kind: "leased", host: "h1", ms: 0 },
  { kind: "unleased", host: "h1", ms: 5_000 },
  { kind: "allocated", berth: "a-1", generation: 4 },
];

it("finds nothing wrong with a berth that moves from a lost host", () => {
  expect(check(right)).toEqual({ status: 0, said: [] });
});

it("lets callers share a server that they have places on", () => {
  const shared = (revision: number): Event =>
    put(revision, "allocations/a-1", { generation: 4, server: "s1", berth: "a-1", shared: true });
  expect(check([...hosts, ...place(4, "h1", "a-1", 4), report, shared(6), shared(7)])).toEqual({ status: 0, said: [] });
});

it.each<readonly [string, readonly Event[], string]>([
  [
    "a generation that comes twice",
    [
      ...hosts,
      ...place(4, "h1", "a-1", 4),
      put(5, "placements/a-1", { berth: "a-1", host: "h1", generation: 4, ports: {} }),
    ],
    "revision 5: a-1 has generation 4 again",
  ],
  [
    "a placement on a host without a lease",
    place(4, "h1", "a-1", 4),
    "revision 4: a-1 was placed on h1, which has no lease",
  ],
  [
    "a port that is given twice",
    [...hosts, ...place(4, "h1", "a-1", 4), ...place(5, "h1", "b-1", 5)],
    "revision 5: port 27000 of h1 was given twice",
  ],
  [
    "an assignment that stays behind",
    [...hosts, ...place(4, "h1", "a-1", 4), ...place(5, "h2", "a-1", 5)],
    "revision 5: h1 is assigned a-1, not placed there",
  ],
  [
    "an allocation of a server that is allocated",
    [...hosts, ...place(4, "h1", "a-1", 4), report, allocated(6), allocated(7)],
    "revision 7: a-1 was allocated twice",
  ],
  [
    "an allocation of a placement that is gone",
    [...hosts, ...place(4, "h1", "a-1", 4), report, allocated(6, 3)],
    "revision 6: a-1 was allocated with the old generation 3",
  ],
  [
    "an allocation of a server that its host does not report",
    [...hosts, ...place(4, "h1", "a-1", 4), report, allocated(6, 4, "s2")],
    "revision 6: a-1 was allocated without its server s2",
  ],
  [
    "a port that is not booked",
    [...hosts, ...place(4, "h1", "a-1", 4), put(5, "bookings/h1", { berths: {} })],
    "revision 5: port 27000 of h1 is not booked for a-1",
  ],
  [
    "a booking of a berth that is elsewhere",
    [...hosts, ...place(4, "h1", "a-1", 4), ...place(5, "h2", "a-1", 5)],
    "revision 5: h1 has booked a-1, which is not placed there",
  ],
  [
    "an assignment of another generation than the placement",
    [...hosts, ...place(4, "h1", "a-1", 4), put(5, "assignments/h1/a-1", { berth: "a-1", generation: 3 })],
    "revision 5: h1 is not assigned a-1 of generation 4",
  ],
  [
    "an allocation that etcd does not have",
    [...right, { kind: "allocated", berth: "a-1", generation: 4 }],
    "a-1 of generation 4 was given to more callers than etcd has",
  ],
  [
    "a second server of a berth on one host",
    [...right, started("h2", "a-1", 8, 12_000)],
    "a-1 of generation 8 on h2 was started while that of generation 8 ran",
  ],
  [
    "a server on a host that never had the berth",
    [...right, started("h2", "a-1", 4, 500)],
    "a-1 of generation 4 on h2 was started, and was never placed there",
  ],
  [
    "a server of an older generation after a newer one",
    [
      ...right,
      ...place(9, "h1", "a-1", 9),
      started("h1", "a-1", 9, 12_000),
      ended("h1", "a-1", 9, 13_000),
      started("h1", "a-1", 4, 14_000),
    ],
    "a-1 of generation 4 on h1 was started after one of generation 9",
  ],
  [
    "a first start long after the lease",
    [...hosts, ...place(4, "h1", "a-1", 4), { kind: "unleased", host: "h1", ms: 0 }, started("h1", "a-1", 4, 6_000)],
    "a-1 of generation 4 began on h1, which had no lease for 6000 ms",
  ],
])("finds %s", (_, history, sentence) => {
  const { status, said } = check(history);
  expect(said).toContain(sentence);
  expect(status).toBe(1);
});
