/** Placement: what must hold for every fleet, and the sentences that explain a decision. */
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import {
  type BerthSet,
  berthSet,
  decide,
  explain,
  type HostRecord,
  type HostView,
  hostRecord,
  type Need,
  NO_BOOKINGS,
  needOf,
  type Planned,
  plan,
} from "../../packages/fleet/src/index.ts";
import { runs } from "../support/property-runs.ts";

const DIGESTS = ["sha256:00000001", "sha256:00000002"] as const;
const GIB = 2 ** 30;
const label = fc.constantFrom("eu", "us");

const anyHost = fc.record({
  pools: fc.array(
    fc
      .tuple(fc.integer({ min: 100, max: 108 }), fc.integer({ min: 0, max: 4 }))
      .map(([first, more]) => ({ first, last: first + more })),
    { maxLength: 3 },
  ),
  busy: fc.array(fc.integer({ min: 99, max: 112 }), { maxLength: 3 }),
  memory: fc.integer({ min: 0, max: 1000 }),
  labels: fc.oneof(
    fc.constant({}),
    label.map((region) => ({ region })),
  ),
  taints: fc.subarray(["gpu", "old"]),
  images: fc.subarray(DIGESTS.map((digest, at) => ({ name: "arena", version: String(at), digest, bytes: 50 }))),
  listsImages: fc.constantFrom(undefined, true),
  store: fc.constantFrom(undefined, "192.0.2.1:443"),
  imageRoom: fc.integer({ min: 0, max: 100 }),
});

const anyFleet: fc.Arbitrary<HostRecord[]> = fc
  .array(anyHost, { maxLength: 5 })
  .map((all) => all.map((one, at) => host(`h${at}`, one)));

const anySet = fc.record({
  count: fc.integer({ min: 0, max: 6 }),
  strategy: fc.constantFrom("packed", "spread"),
  labels: fc.oneof(
    fc.constant({}),
    label.map((region) => ({ region })),
  ),
  tolerates: fc.subarray(["gpu", "old"]),
  memory: fc.integer({ min: 0, max: 400 }),
  image: fc.constantFrom(
    undefined,
    { name: "arena" },
    { name: "arena", digest: DIGESTS[1] },
    { name: "arena", size: 50 },
  ),
  rootImage: fc.constantFrom("arena", "arena@1", ["/srv/base", "arena@0"], "other"),
  berth: fc.constantFrom(
    berthWith("tcp://127.0.0.1:0"),
    berthWith("tcp://127.0.0.1:0", "udp://[::]:0"),
    berthWith("udp://0.0.0.0:103"),
    berthWith("udp://0.0.0.0:103", "udp://0.0.0.0:0"),
    berthWith("unix:/run/a"),
  ),
});

const anySets: fc.Arbitrary<BerthSet[]> = fc
  .array(anySet, { maxLength: 4 })
  .map((all) =>
    all.map(({ rootImage, berth, ...one }, at) =>
      set(`s${at}`, { ...one, berth: { ...berth, root: { image: rootImage } } }),
    ),
  );

/** One socket for each address. */
function berthWith(...addresses: readonly string[]) {
  return { sockets: Object.fromEntries(addresses.map((address, at) => [`socket${at}`, { listen: [address] }])) };
}

function host(name: string, more: object = {}): HostRecord {
  const usual = { name, addresses: [], pools: [], cores: 1, memory: 0, bootId: "boot", version: "0.1.0" };
  const given = Object.entries({ ...usual, ...more }).filter(([, value]) => value !== undefined);
  return hostRecord(Object.fromEntries(given), "host");
}

interface SetKeys {
  readonly image?: object | undefined;
  readonly [key: string]: unknown;
}

function set(name: string, { image, ...more }: SetKeys = {}): BerthSet {
  return berthSet({ berth: {}, ...more, name, ...(image !== undefined && { image }) }, "set");
}

const empty = (record: HostRecord): HostView => ({ host: record, bookings: NO_BOOKINGS });
const needsOf = (sets: readonly BerthSet[]): Need[] =>
  sets.flatMap((one) => Array.from({ length: one.count }, (_, at) => needOf(one, at + 1)));

interface Placed {
  readonly need: Need;
  readonly ports: readonly number[];
}

/** By host: what was placed there. */
function byHost(planned: readonly Planned[]): Map<string, Placed[]> {
  const placed = new Map<string, Placed[]>();
  for (const { need, decision } of planned) {
    if (decision.kind === "refuse") continue;
    const ports = [...Object.values(decision.ports), ...need.fixed];
    placed.set(decision.host, [...(placed.get(decision.host) ?? []), { need, ports }]);
  }
  return placed;
}

/** The rules again, in the shortest words: whether the host, with what was placed there, can have one more. */
function canHave(record: HostRecord, there: readonly Placed[], need: Need, all: readonly HostRecord[]): boolean {
  const taken = new Set([...record.busy, ...there.flatMap(({ ports }) => ports)]);
  const open = Array.from({ length: 200 }, (_, port) => port).filter(
    (port) =>
      record.pools.some(({ first, last }) => first <= port && port <= last) &&
      !taken.has(port) &&
      !need.fixed.includes(port),
  );
  const canHaveImage = ({ name, version, digest, isSure }: Need["images"][number]): boolean => {
    if (!isSure && !record.listsImages) return true;
    const same = record.images.filter((one) => one.name === name && (version === undefined || one.version === version));
    if (same.some((one) => digest === undefined || one.digest === digest)) return true;
    if (same.length > 0 || version === undefined || digest === undefined) return false;
    if (!record.listsImages || record.store === undefined || record.imageRoom < 50) return false;
    return all.some(
      (one) =>
        one.name !== record.name &&
        one.store !== undefined &&
        one.images.some((image) => image.name === name && image.version === version && image.digest === digest),
    );
  };
  return (
    Object.entries(need.labels).every(([name, value]) => record.labels[name] === value) &&
    record.taints.every((taint) => need.tolerates.includes(taint)) &&
    there.reduce((sum, one) => sum + one.need.memory, need.memory) <= record.memory &&
    need.fixed.every((port) => !taken.has(port)) &&
    open.length >= need.drawn.length &&
    need.images.every(canHaveImage)
  );
}

describe("for every fleet and all its sets", () => {
  const check = (property: (hosts: HostRecord[], sets: BerthSet[], planned: Planned[]) => void): void =>
    fc.assert(
      fc.property(anyFleet, anySets, (hosts, sets) => property(hosts, sets, plan(needsOf(sets), hosts.map(empty)))),
      { numRuns: runs(400) },
    );

  it("no port is given twice on a host, and none that another program has", () => {
    let given = 0;
    check((hosts, _, planned) => {
      for (const [name, placed] of byHost(planned)) {
        const ports = placed.flatMap((one) => one.ports);
        given += ports.length;
        expect(new Set(ports).size).toBe(ports.length);
        const busy = hosts.find((one) => one.name === name)?.busy ?? [];
        expect(ports.filter((port) => busy.includes(port))).toEqual([]);
      }
    });
    expect(given).toBeGreaterThan(0);
  });

  it("each drawn port is in a pool of its host", () => {
    check((hosts, _, planned) => {
      for (const { need, decision } of planned) {
        if (decision.kind === "refuse") continue;
        const pools = hosts.find(({ name }) => name === decision.host)?.pools ?? [];
        expect(Object.keys(decision.ports)).toEqual(need.drawn);
        for (const port of Object.values(decision.ports))
          expect(pools.some(({ first, last }) => first <= port && port <= last)).toBe(true);
      }
    });
  });

  it("no host gives more memory than it has", () => {
    check((hosts, _, planned) => {
      for (const [name, placed] of byHost(planned)) {
        const given = placed.reduce((sum, { need }) => sum + need.memory, 0);
        expect(given).toBeLessThanOrEqual(hosts.find((one) => one.name === name)?.memory ?? 0);
      }
    });
  });

  it("a host is refused exactly when the rules say so, and a berth only when all hosts are", () => {
    check((hosts, _, planned) => {
      for (const [at, { need, decision }] of planned.entries()) {
        const before = byHost(planned.slice(0, at));
        for (const verdict of decision.verdicts) {
          const record = hosts.find(({ name }) => name === verdict.host) ?? host("none");
          expect(verdict.fits, JSON.stringify({ need, verdict })).toBe(
            canHave(record, before.get(verdict.host) ?? [], need, hosts),
          );
        }
        expect(decision.verdicts.map((one) => one.host)).toEqual(hosts.map(({ name }) => name).sort());
        expect(decision.kind).toBe(decision.verdicts.some(({ fits }) => fits) ? "place" : "refuse");
      }
    });
  });

  it("the order in which hosts and their facts are given changes no decision", () => {
    fc.assert(
      fc.property(
        anyFleet.chain((hosts) =>
          fc.tuple(fc.constant(hosts), fc.shuffledSubarray(hosts, { minLength: hosts.length })),
        ),
        anySets,
        ([hosts, shuffled], sets) => {
          const turned = shuffled.map((record) => ({
            ...record,
            pools: [...record.pools].reverse(),
            busy: [...record.busy].reverse(),
            taints: [...record.taints].reverse(),
            images: [...record.images].reverse(),
          }));
          const needs = needsOf(sets);
          expect(plan(needs, turned.map(empty))).toEqual(plan(needs, hosts.map(empty)));
        },
      ),
      { numRuns: runs(200) },
    );
  });

  it("the explanation names the host of the decision, and a reason against each other host", () => {
    check((_, __, planned) => {
      for (const { decision } of planned) {
        const { host: named, fetches = [], others } = explain(decision);
        expect(fetches.length).toBe(decision.kind === "place" ? decision.fetches.length : 0);
        expect(named).toBe(decision.kind === "place" ? decision.host : undefined);
        expect([...others.map((one) => one.host), ...(named === undefined ? [] : [named])].sort()).toEqual(
          decision.verdicts.map((one) => one.host),
        );
        for (const { host: other, why } of others) {
          const fits = decision.verdicts.find((one) => one.host === other)?.fits;
          expect(/^fits/.test(why), why).toBe(fits);
        }
      }
    });
  });

  it("without a host that the explanation calls worse, the decision is the same; without the chosen one, another", () => {
    check((hosts, _, planned) => {
      const [first] = planned;
      if (first?.decision.kind !== "place") return;
      const { need, decision } = first;
      // Without a host that has the image, there is less to choose from.
      if (decision.verdicts.some((one) => one.fits && one.fetches.length > 0)) return;
      for (const { host: other } of explain(decision).others) {
        const rest = hosts.filter(({ name }) => name !== other).map(empty);
        expect(decide(need, rest)).toMatchObject({ kind: "place", host: decision.host, ports: decision.ports });
      }
      const rest = hosts.filter(({ name }) => name !== decision.host).map(empty);
      const second = decide(need, rest);
      expect(second.kind).toBe(decision.verdicts.filter(({ fits }) => fits).length > 1 ? "place" : "refuse");
    });
  });
});

const pools = [{ first: 100, last: 199 }];
const drawing = berthWith("udp://0.0.0.0:0");

test("spread puts the berths of a set on different hosts, and packed on one", () => {
  const hosts = ["a", "b", "c"].map((name) => empty(host(name, { pools })));
  const where = (strategy: string): unknown[] =>
    plan(needsOf([set("s", { count: 3, strategy, berth: drawing })]), hosts).map(
      ({ decision }) => decision.kind === "place" && decision.host,
    );
  expect(where("spread")).toEqual(["a", "b", "c"]);
  expect(where("packed")).toEqual(["a", "a", "a"]);
});

test("a host that has the image comes before one that would have to get it", () => {
  const image = { name: "arena", digest: DIGESTS[0] };
  const hosts = [withImage("b", DIGESTS[0]), fetching("a")];
  const berth = { root: { image: "arena@2.1" } };
  for (const strategy of ["packed", "spread"]) {
    const decision = decide(needOf(set("s", { strategy, image, berth }), 1), hosts.map(empty));
    expect(explain(decision)).toEqual({
      host: "b",
      others: [{ host: "a", why: "fits, but does not have the image yet, and b has it" }],
    });
  }
});

/** A host that can get images from others. */
function fetching(name: string, more: object = {}): HostRecord {
  return host(name, { store: "192.0.2.1:443", listsImages: true, imageRoom: 4 * GIB, ...more });
}
function withImage(name: string, digest: string, more: object = {}): HostRecord {
  return fetching(name, { images: [{ name: "arena", version: "2.1", digest, bytes: 1.25 * GIB }], ...more });
}

describe("an image that only other hosts have", () => {
  const place = (record: HostRecord, sources: readonly HostRecord[], image: string | string[], digest?: string) => {
    const pin = digest === undefined ? {} : { image: { name: "arena", digest } };
    const need = needOf(set("s", { ...pin, berth: { root: { image } } }), 1);
    return decide(need, [empty(record)], [record, ...sources].map(empty));
  };

  it("is fetched if the set has its digest, from hosts with that digest and a store", () => {
    const sources = [
      withImage("h4", DIGESTS[1]),
      withImage("h3", DIGESTS[0]),
      withImage("h2", DIGESTS[0]),
      withImage("no-store", DIGESTS[0], { store: undefined }),
    ];
    const decision = place(fetching("h1"), sources, ["/srv/base", "arena@2.1"], DIGESTS[0]);
    expect(decision).toMatchObject({
      fetches: [{ name: "arena", version: "2.1", digest: DIGESTS[0], bytes: 1.25 * GIB }],
    });
    expect(decision.kind === "place" && decision.fetches[0]?.sources).toEqual(
      ["h2", "h3"].map((name) => ({ host: name, store: "192.0.2.1:443" })),
    );
    expect(explain(decision)).toEqual({
      host: "h1",
      fetches: ["image arena@2.1 is not there, h2 and h3 have it: 1.2 GiB are fetched"],
      others: [],
    });
  });

  const has = withImage("h2", DIGESTS[0]);
  it.each([
    [
      "arena",
      DIGESTS[0],
      fetching("h1"),
      'does not have image arena; to have it fetched, name its version in the set, as "arena@1", and its digest',
    ],
    [
      "arena@2.1",
      undefined,
      fetching("h1"),
      `does not have image arena@2.1; to have it fetched, add to the set: image = { name = "arena", digest = "${DIGESTS[0]}" } (h2 has that)`,
    ],
    ["arena@9", undefined, fetching("h1"), "does not have image arena@9, and no other host offers it"],
    [
      "arena@2.1",
      DIGESTS[1],
      fetching("h1"),
      "does not have image arena@2.1, and no other host offers one with that digest",
    ],
    [
      "arena@2.1",
      DIGESTS[0],
      withImage("h1", DIGESTS[1]),
      `does not have image arena@2.1 with that digest: its own one is ${DIGESTS[1]}`,
    ],
    [
      "arena@2.1",
      DIGESTS[0],
      fetching("h1", { store: undefined }),
      "does not have image arena@2.1, and cannot fetch it: its agent needs --state-socket, --store and --store-listen",
    ],
    [
      "arena@2.1",
      DIGESTS[0],
      fetching("h1", { imageRoom: GIB }),
      "does not have image arena@2.1, and has 1 GiB for images; it needs 1.2 GiB",
    ],
  ])("%s with the digest %s is refused, and why", (image, digest, record, why) => {
    expect(explain(place(record, [has], image, digest)).others).toEqual([{ host: "h1", why }]);
  });

  it("is not recommended by the digest of one host if another one has another tree", () => {
    const sources = [withImage("evil", DIGESTS[1]), withImage("h2", DIGESTS[0])];
    const [refused] = explain(place(fetching("h1"), sources, "arena@2.1")).others;
    expect(refused?.why).toBe(
      "does not have image arena@2.1; to have it fetched, add its digest to the set. evil and h2 have different trees " +
        "of that name: take the digest that berth image import has printed",
    );
  });

  it("is searched on each host once as itself and once as a source, however many hosts lack it", () => {
    let reads = 0;
    const counted = (record: HostRecord): HostView =>
      empty({
        ...record,
        get images() {
          reads++;
          return record.images;
        },
      });
    const lacking = Array.from({ length: 50 }, (_, at) => fetching(`lacking-${at}`));
    const image = { name: "arena", digest: DIGESTS[0] };
    const need = needOf(set("s", { image, berth: { root: { image: "arena@2.1" } } }), 1);
    const decision = decide(need, [has, ...lacking].map(counted));
    expect(decision.verdicts.filter((one) => one.fits && one.fetches.length === 1)).toHaveLength(50);
    expect(reads).toBe(2 * 51);
  });

  it("does not matter on a host that does not say which images it has, unless the set has the digest", () => {
    expect(place(host("h1"), [has], "arena@2.1").kind).toBe("place");
    expect(place(host("h1"), [has], "arena@2.1", DIGESTS[0]).kind).toBe("refuse");
    expect(place(host("h1", { images: has.images }), [], "arena@2.1", DIGESTS[0]).kind).toBe("place");
  });
});

test("an explanation gives every reason against a host, with names and numbers", () => {
  const wanted = set("s", {
    labels: { region: "eu" },
    memory: 3 * 2 ** 20,
    image: { name: "arena" },
    berth: berthWith("udp://0.0.0.0:0", "tcp://0.0.0.0:27960", "tcp://0.0.0.0:80"),
  });
  const full: HostView = {
    host: host("full", { memory: 2 * 2 ** 20, labels: { region: "us" }, taints: ["old"], busy: [80] }),
    bookings: { berths: { "other-1": { set: "other", ports: [27960], memory: 2 ** 20 } } },
  };
  const images = [{ name: "arena", digest: DIGESTS[0] }];
  const good = empty(host("good", { memory: 2 ** 30, labels: { region: "eu" }, pools, images }));
  expect(explain(decide(needOf(wanted, 1), [full, good]))).toEqual({
    host: "good",
    others: [
      {
        host: "full",
        why: [
          "its label region is us; eu is wanted",
          "has the taint old, which the set does not tolerate",
          "has 1 MiB left; 3 MiB are wanted",
          'does not have image arena; to have it fetched, name its version in the set, as "arena@1", and its digest',
          "port 80 is taken by another program",
          "port 27960 is taken by other-1",
          "its pools have no free port",
        ].join("; "),
      },
    ],
  });
});

test("a berth is not placed a second time on the host that has it", () => {
  const need = needOf(set("s"), 1);
  const there: HostView = { host: host("a"), bookings: { berths: { "s-1": { set: "s", ports: [], memory: 0 } } } };
  expect(explain(decide(need, [there]))).toEqual({
    host: undefined,
    others: [{ host: "a", why: "has this berth already" }],
  });
});
